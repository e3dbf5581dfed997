/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_OUT_API_H
#define PS_OUT_API_H
/* One output file by itself, for tests and for sources that are no session: written in any order, checked by pieces, put
 * into place when it is verified. */
typedef struct ps_out_file ps_out_file;
struct ps_root;

/* path: the final name beneath the root. NULL: a line is in the log. */
ps_out_file *ps_out_file_open(ps_ctx *c, struct ps_root *root, const char *path, uint32_t mode, int64_t mtime);
/* Pieces (32 bytes each) and their root. PS_FAIL: they do not belong together. */
int ps_out_file_digest(ps_out_file *f, uint64_t size, const uint8_t *pieces, const uint8_t *root);
int ps_out_file_write(ps_out_file *f, int64_t offset, const uint8_t *data, size_t n);
int ps_out_file_copy(ps_out_file *f, int64_t offset, int64_t len, int from, int64_t from_offset);
int ps_out_file_piece(ps_out_file *f, uint64_t index); /* -1 bad, 0 open, 1 ok */
void ps_out_file_again(ps_out_file *f, uint64_t index);
/* The first range at or after *at that is not written: its start and length; false: none. */
bool ps_out_file_missing(ps_out_file *f, uint64_t *at, uint64_t *len);
/* -1 failed (logged), 0 not verified and discarded, 1 in place, 2 delayed. Frees the handle, as ps_out_file_abort does. */
int ps_out_file_finish(ps_out_file *f, int64_t size, bool verified);
void ps_out_file_abort(ps_out_file *f, bool may_keep);
#endif
