#include "wire/messages.h"

#include "wire/mux.h"

#define TIMEOUT_MOST 86400 /* io.c: a longer one of the remote's is ignored */
#define IOERR_MASK (PS_IOERR_GENERAL | PS_IOERR_VANISHED | PS_IOERR_DEL_LIMIT)

int message_bad(ps_ctx *c, const char *who, u32 code, u32 len) {
    return ps_fail(c, 12, 0, "invalid multi-message %u:%u [%s%s]", code, len, who, c->o.inc_recurse ? "/inc" : "");
}

int message_take(ps_ctx *c, const char *who, u32 code, const u8 *data, u32 len) {
    i32 value = len == 4 ? message_int(data, len) : 0;
    switch (code) {
    case PS_LOG_ERROR_XFER:
    case PS_LOG_INFO:
    case PS_LOG_ERROR:
    case PS_LOG_WARNING: ps_log_bytes(c, c->o.am_server ? PS_LOG_LOG : (int)code, data, len); return PS_OK;
    case PS_MSG_NOOP: return len ? message_bad(c, who, code, len) : PS_OK;
    case PS_MSG_IO_ERROR:
        if (len != 4) return message_bad(c, who, code, len);
        c->io_error |= value & IOERR_MASK;
        return PS_OK;
    case PS_MSG_IO_TIMEOUT:
        if (len != 4 || c->o.am_server) return message_bad(c, who, code, len);
        /* Only ever makes the own one shorter; where the array is full, the own one stays. */
        if (value > 0 && value <= TIMEOUT_MOST) ps_event_add(c, PS_EV_IO_TIMEOUT, 0, value, 0, NULL, 0);
        return PS_OK;
    case PS_MSG_REDO:
    case PS_MSG_STATS:
    case PS_LOG_ERROR_SOCKET:
    case PS_LOG_ERROR_UTF8:
    case PS_LOG_CLIENT:
    case PS_LOG_LOG: return message_bad(c, who, code, len); /* between rsync's own processes */
    case PS_MSG_SUCCESS:
    case PS_MSG_DELETED:
    case PS_MSG_NO_SEND:
    case PS_MSG_ERROR_EXIT:
    case PS_MSG_NOMINATE: return PS_MESSAGE_OTHER;
    default: return ps_fail(c, 12, 0, "unexpected tag %u [%s%s]", code, who, c->o.inc_recurse ? "/inc" : "");
    }
}
