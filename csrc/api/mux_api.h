/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_MUX_API_H
#define PS_MUX_API_H

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

#endif
