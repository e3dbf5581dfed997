/* Read by cffi as well: declarations and `#define NAME number` only.
 * Limits of nominate/1, and policies with a number that the core keeps: protocol-spec/limits.md, there without PS_NOMINATE_. */
#ifndef PS_LIMITS_API_H
#define PS_LIMITS_API_H

#define PS_NOMINATE_FRAME_BYTES 65536u            /* of one frame, its type included */
#define PS_NOMINATE_DIGEST_REQUEST_ENTRIES 8192u  /* of one digests? */
#define PS_NOMINATE_DIGEST_WINDOW_ENTRIES 32768u  /* asked for and not answered */
#define PS_NOMINATE_DIGEST_WINDOW_BYTES 16777216u /* answers asked for and not got, by the client's estimate */
#define PS_NOMINATE_FETCH_ENTRIES 1024u           /* of one fetch */
#define PS_NOMINATE_FETCH_WINDOW 64u              /* fetch frames not yet answered */
#define PS_NOMINATE_DATA_BYTES 65000u             /* payload of one data frame */
#define PS_NOMINATE_PIECES 16777216u              /* of one file */
#define PS_NOMINATE_CUT_OVER_BYTES 262144u        /* files without a basis up to this size are fetched whole */
#define PS_NOMINATE_BUNDLE_BYTES 1048576u         /* of small files in one fetch */
#define PS_NOMINATE_BUNDLE_FILES 256u

#endif
