/* What both directions of a compressed token stream know of its coding (token.c). Private to token*.c. */
#ifndef PS_TOKEN_WIRE_H
#define PS_TOKEN_WIRE_H

#define FLAG_END 0x00
#define FLAG_TOKEN_LONG 0x20    /* + i32 token */
#define FLAG_TOKENRUN_LONG 0x21 /* + i32 token, u16 run */
#define FLAG_DEFLATED 0x40      /* low six bits: high part of the length; + its low byte */
#define FLAG_TOKEN_REL 0x80     /* low six bits: distance from the end of the last run */
#define FLAG_TOKENRUN_REL 0xC0  /* ditto, + u16 run */

#define CHUNK_MAX 16383u        /* compressed bytes behind one FLAG_DEFLATED */
#define TOKEN_MAX 0x7ffffffe
#define RUN_MAX 65536           /* blocks of one run */
#define FLUSH_TAIL 4            /* 00 00 ff ff at the end of a sync flush is left out on the wire */
#define STORED_MAX 0xffffu      /* matched data enters the history in parts of this size */
#define LZ4_PLAIN_MAX 32768     /* what one lz4 chunk may unpack to, before LZ4_compressBound */

#endif
