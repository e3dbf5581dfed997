/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_MUX_API_H
#define PS_MUX_API_H
#include "api/context_api.h"

#define PS_MUX_BASE 7 /* io.h: what is added to a message's code on the wire */
/* message codes; 1..8 are log codes */
#define PS_MSG_DATA 0
#define PS_MSG_REDO 9
#define PS_MSG_STATS 10
#define PS_MSG_IO_ERROR 22
#define PS_MSG_IO_TIMEOUT 33
#define PS_MSG_NOOP 42
#define PS_MSG_ERROR_EXIT 86
#define PS_MSG_SUCCESS 100
#define PS_MSG_DELETED 101
#define PS_MSG_NO_SEND 102
#define PS_MSG_NOMINATE 117 /* the extension's frames */
#define PS_MUX_OUT_FRAME 32768 /* bytes of a frame of ours: stock peers read larger ones too; 32 KiB costs nothing (measured) */

/* The header of a frame. */
void ps_mux_head(uint32_t code, uint32_t len, uint8_t head[4]);

/* A reader for what comes before there is a pump. */
typedef struct ps_demux ps_demux;
ps_demux *ps_demux_new(ps_ctx *c); /* whether the input is multiplexed at all: by the options */
void ps_demux_free(ps_demux *d);
/* Reads `used` of len bytes, up to some data (*code PS_MSG_DATA) or to the end of a message, which lie at *found until the next
 * call. PS_AGAIN: all are used, and there is neither. */
int ps_demux_next(ps_demux *d, const uint8_t *bytes, size_t len, size_t *used, uint32_t *code, const uint8_t **found,
                  size_t *found_len);
uint32_t ps_demux_frame_left(const ps_demux *d); /* bytes still to come of a data frame whose header has been read */

#endif
