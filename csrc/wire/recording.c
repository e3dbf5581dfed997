#include "wire/recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM (256u * 1024u)

bool recording_begin(ps_recording *r, int fd) {
    *r = (ps_recording){.fd = fd, .room = malloc(ROOM)};
    if (!r->room) r->fd = -1;
    return r->room;
}

void recording_free(ps_recording *r) {
    free(r->room);
    *r = NO_RECORDING;
}

static void write_out(ps_recording *r, const u8 *data, size_t n) {
    size_t whole = n;
    while (n && !r->err) {
        ssize_t put = write(r->fd, data, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            r->err = put < 0 ? errno : EIO;
            r->lost = whole;
            return;
        }
        data += put;
        n -= (size_t)put;
    }
}

static void flush(ps_recording *r) {
    write_out(r, r->room, r->used);
    r->used = 0;
}

void recording_put(ps_recording *r, const void *data, size_t n) {
    if (!recording_on(r)) return;
    if (n > ROOM - r->used) flush(r);
    if (n >= ROOM) {
        write_out(r, data, n);
        return;
    }
    memcpy(r->room + r->used, data, n);
    r->used += n;
}

int recording_check(ps_ctx *c, ps_recording *r, bool end) {
    if (!recording_on(r)) return PS_OK;
    if (end) flush(r);
    if (!r->err || c->error.exit_code) return r->err ? PS_FAIL : PS_OK;
    return ps_fail(c, 12, r->err, "safe_write failed to write %zu bytes to batch file: %s (%d)", r->lost, strerror(r->err), r->err);
}
