/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_FRAMES_API_H
#define PS_FRAMES_API_H

/* Frame types of nominate/1 (protocol-spec/nominate-1.md): the first byte of a frame. */
#define PS_FRAME_HELLO 1
#define PS_FRAME_NOMINATION 2
#define PS_FRAME_DIGESTS_REQUEST 3
#define PS_FRAME_DIGESTS 4
#define PS_FRAME_FETCH 5
#define PS_FRAME_DATA 6
#define PS_FRAME_MISSING 7
#define PS_FRAME_BUSY 8
#define PS_FRAME_LEASE 9
#define PS_FRAME_REPORT 10
#define PS_FRAME_BYE 11
#define PS_FRAME_PROBE 12

/* Reasons of a missing frame. */
#define PS_MISSING_NO_FILE 1
#define PS_MISSING_OTHER 2   /* another digest, size or time than asked for */
#define PS_MISSING_DENIED 3
#define PS_MISSING_ERROR 4
#define PS_MISSING_UNKNOWN 5 /* not in the index */

#endif
