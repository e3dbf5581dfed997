/* A batch file that is being written: all data that one side's sender sends, without the envelope (io.c:write_batch_monitor_in
 * and write_batch_monitor_out). */
#ifndef PS_RECORDING_H
#define PS_RECORDING_H
#include "core/context.h"

typedef struct ps_recording {
    int fd;     /* borrowed; -1: nothing is recorded */
    int err;    /* errno of the first write that failed: nothing is written after it */
    size_t lost; /* how many bytes that write had */
    u8 *room;
    size_t used;
} ps_recording;

#define NO_RECORDING ((ps_recording){.fd = -1})

bool recording_begin(ps_recording *r, int fd); /* false: memory */
void recording_free(ps_recording *r);
static inline bool recording_on(const ps_recording *r) { return r->fd >= 0; }
void recording_put(ps_recording *r, const void *data, size_t n); /* where one is on */
/* PS_FAIL where something could not be written. end: what is gathered is written first. */
int recording_check(ps_ctx *c, ps_recording *r, bool end);

#endif
