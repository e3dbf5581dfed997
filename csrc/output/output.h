/* Output files: written in any order and from several sources, checked piece by piece where a digest is known, put into
 * place only when the whole file is verified. The sequential receiver is the simplest user. */
#ifndef PS_OUT_H
#define PS_OUT_H
#include "digest/hash.h"
#include "filelist/flist.h"
#include "fs/root.h"

typedef struct ps_outs ps_outs; /* what all outputs of a session share, and the list of those that are open */
typedef struct ps_out ps_out;

ps_outs *outs_new(ps_ctx *c, ps_root *dest);
/* --backup: keeps what is at `path`, which an output is about to replace. false: errno */
typedef bool (*outs_backup_fn)(void *owner, const char *path);
void outs_back_up(ps_outs *o, outs_backup_fn fn, void *owner);
const ps_ctx *outs_context(const ps_outs *o);
void outs_free(ps_outs *o);      /* aborts what is still open */
/* An interruption: every open output is removed, or kept as --partial and --partial-dir demand (cleanup.c). */
void outs_abort_all(ps_outs *o);
u32 outs_open_count(const ps_outs *o);

/* rsync's recv_ok: what became of a file */
typedef enum { PS_OUT_FAILED = -1, PS_OUT_BAD = 0, PS_OUT_DONE = 1, PS_OUT_DELAYED = 2 } ps_out_result;

#define PS_OUT_IN_PARTIAL 1      /* written into the file in --partial-dir, which is also the basis (one_inplace) */
#define PS_OUT_IN_PLACE 2        /* --inplace: written into the file itself */
#define PS_OUT_TRUNCATE 4        /* which is emptied first */
/* Makes the temporary file for an entry whose final name is `path` beneath the root. The entry must live until the
 * output is finished or aborted. NULL: rsync's message is logged; memory: the context has failed as well. */
ps_out *out_open(ps_outs *o, ps_file *file, i32 ndx, const char *path, int flags);
i32 out_ndx(const ps_out *out);
const char *out_path(const ps_out *out);
bool out_got_data(const ps_out *out);
void out_note_data(ps_out *out); /* cleanup_got_literal: something is worth keeping though only matched blocks were copied */

/* Bytes at their place. PS_OK, or PS_FAIL with errno set: the caller fails the session (rsync: exit 11). */
int out_write(ps_out *out, i64 offset, const void *data, size_t n);
struct iovec;
int out_writev(ps_out *out, i64 offset, struct iovec *parts, int count, size_t total); /* parts are consumed */
/* The file's own bytes at offset are right already (not for a temporary file): skips them, or punches their zeros out. */
int out_skip(ps_out *out, i64 offset, const void *data, size_t n);
/* Copies from an open file. PS_FAIL with errno 0: the source ended early. */
int out_copy(ps_out *out, i64 offset, i64 len, int from, i64 from_offset);

/* Bytes at offset of a file that is being copied as a whole, to the same place; the kernel moves them where it can. PS_FAIL: they
 * cannot be written; PS_AGAIN: the source has less than `size`, or cannot be read. */
int out_take_over(ps_out *out, i64 offset, i64 len, int from, i64 size);

/* The end of the data. size: bytes that the file has. verified: the whole-file checksum (or digest) matched.
 * from_partial: the basis was the file in --partial-dir. Frees the output whatever the result. */
/* Whether out_finish has nothing to do for such an output, once its data are verified, but attributes and a rename. */
bool out_is_plain(const ps_out *out);
/* Frees the output of a file that somebody else has put in place. */
void out_give_back(ps_out *out);
ps_out_result out_finish(ps_out *out, i64 size, bool verified, bool from_partial);
void out_abort(ps_out *out, bool may_keep);

/* Puts delayed updates into place (receiver.c:handle_delayed_updates); done is called for each. */
void outs_finish_delayed(ps_outs *o, void (*done)(void *owner, i32 ndx, bool ok), void *owner);

/* The file in --partial-dir for a path; 0 where there is none (not asked for, or the name is too long). */
size_t out_partial_path(const ps_ctx *c, const char *path, char out[PS_LIMIT_NAME + 1]);
/* Opens it for reading, never through a symlink. -1: errno. */
int outs_open_partial(ps_outs *o, const char *path);

/* ---- pieces: a file whose digest is known (pieces.c) ---- */
typedef enum { PS_PIECE_BAD = -1, PS_PIECE_OPEN = 0, PS_PIECE_OK = 1 } ps_piece_state;
typedef struct ps_pieces ps_pieces;
/* pieces: piece_count(size) × 32 bytes, copied. PS_FAIL: the digests do not make the root, or memory; the context has failed
 * only for memory. */
int out_set_digest(ps_out *out, u64 size, const u8 *pieces, const u8 root[32]);
/* State of one piece: open until its last byte is there, then checked once. A bad piece stays so until out_piece_again. */
ps_piece_state out_piece(ps_out *out, u64 index);
void out_piece_again(ps_out *out, u64 index);
/* After out_piece_again: this range of it is as it should be, and is not to be written anew. PS_FAIL: memory. */
int out_piece_keep(ps_out *out, u64 index, u64 offset, u64 len);
/* The first range at or after *at, up to `end`, that is not written yet; false: none. */
bool out_missing(ps_out *out, u64 end, u64 *at, u64 *len);
bool out_all_pieces_ok(const ps_out *out);

#endif
