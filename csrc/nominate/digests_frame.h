/* The layout of the frame `digests` (protocol-spec/nominate-1.md §2), both directions: after type and id come parts, each of one
 * entry of the request: its head, or a run of piece digests or block sums. */
#ifndef PS_DIGESTS_FRAME_H
#define PS_DIGESTS_FRAME_H
#include "core/bytes.h"

typedef enum { DIGESTS_HEAD = 1, DIGESTS_PIECES = 2, DIGESTS_BLOCKS = 3 } digests_part_kind;
typedef enum { DIGESTS_OK = 0, DIGESTS_PENDING = 1, DIGESTS_CHANGED = 2, DIGESTS_NO = 3 } digests_status;
#define DIGESTS_PIECE_BYTES 32u
#define DIGESTS_BLOCK_BYTES 12u    /* u32 weak, 8 bytes of xxh128 */
#define DIGESTS_HEAD_BYTES 59u     /* of the longest head */
#define DIGESTS_RUN_HEAD_BYTES 11u /* of a run without its records */
#define DIGESTS_KIND_BLAKE3 1

typedef struct digests_part {
    u8 kind;          /* digests_part_kind */
    u32 entry;
    /* head; what follows the status only with DIGESTS_OK */
    u8 status, digest_kind;
    u64 size;
    i64 mtime;
    u32 mtime_ns;
    const u8 *root;   /* 32 bytes */
    /* run */
    u32 first;
    u16 count;
    const u8 *records;
} digests_part;

static inline size_t digests_record_bytes(u8 kind) { return kind == DIGESTS_PIECES ? DIGESTS_PIECE_BYTES : DIGESTS_BLOCK_BYTES; }

void digests_put_start(ps_buf *b, u32 id);
void digests_put(ps_buf *b, const digests_part *p);
/* The frame's id; what is wrong with the frame or NULL. data: what follows the type. */
const char *digests_start(ps_reader *r, u32 *id);
const char *digests_next(ps_reader *r, digests_part *p); /* while rd_left; the part's pointers lie in the frame */

#endif
