/* Messages of the remote that mean the same to every role (io.c:read_a_msg). */
#ifndef PS_MESSAGES_H
#define PS_MESSAGES_H
#include "core/context.h"

#define PS_MESSAGE_OTHER PS_AGAIN
/* Texts go to the log (a server's own: rsync would send them back to where they came from), errors into the context, a timeout
 * becomes an event. PS_OK, PS_FAIL, PS_MESSAGE_OTHER: it is for the role itself. who: for messages, as "sender". */
int message_take(ps_ctx *c, const char *who, u32 code, const u8 *data, u32 len);
int message_bad(ps_ctx *c, const char *who, u32 code, u32 len);
static inline i32 message_int(const u8 *data, u32 len) {
    ps_reader r = rd_make(data, len);
    return rd_i32(&r);
}

#endif
