/* Token streams (token.c of rsync): literal runs and block references, plain or compressed. */
#ifndef PS_TOKEN_H
#define PS_TOKEN_H
#include "digest/hash.h"
#include "wire/mux.h"

/* ---- decoding, one per receiving session (compressors keep state between files only as rsync's do) ---- */
typedef struct ps_token_in ps_token_in;
typedef enum { PS_TOK_MORE, PS_TOK_LITERAL, PS_TOK_BLOCK, PS_TOK_END, PS_TOK_BAD } ps_token_kind;
ps_token_in *token_in_new(ps_ctx *c);
void token_in_free(ps_token_in *t);
void token_in_begin(ps_token_in *t); /* a new file */
/* Takes input from the mux (stage or spans) and gives the next token. LITERAL: *data, *len valid until the next call,
 * any split of a run is allowed. BLOCK: *block. MORE: the feed is used up. BAD: ctx->error is set. */
ps_token_kind token_in_next(ps_token_in *t, ps_mux_in *m, ps_message_fn fn, void *owner, const u8 **data, size_t *len, i32 *block);
/* token.c:see_token: zlib (not zlibx) needs the data of matched blocks in its history. */
void token_in_see(ps_token_in *t, const u8 *data, size_t n);
static inline bool token_in_wants_blocks(const ps_opts *o) { return o->compress == PS_Z_ZLIB; }

/* ---- encoding ---- */
typedef struct ps_token_out ps_token_out;
ps_token_out *token_out_new(ps_ctx *c);
void token_out_free(ps_token_out *t);
/* A new file. compress_this_file false: the least effort that the kind has (a suffix of `dont compress`). */
void token_out_begin(ps_token_out *t, bool compress_this_file);
int token_out_literal(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n);
int token_out_block(ps_token_out *t, ps_mux_out *m, i32 block, const u8 *data, size_t n); /* data: for zlib's history; NULL else */
int token_out_end(ps_token_out *t, ps_mux_out *m);
static inline bool token_out_wants_blocks(const ps_opts *o) { return o->compress == PS_Z_ZLIB; }
/* Plain streams only: writes the head of a literal run of n bytes and gives the place for them, to be read straight from
 * a file (n <= PS_TOKEN_RUN). The caller fills all of it, and says so. NULL: memory. */
#define PS_TOKEN_RUN ((size_t)PS_MUX_OUT_FRAME - 4)
u8 *token_out_room(ps_mux_out *m, size_t n);
void token_out_filled(ps_mux_out *m, size_t n);

/* ---- `dont compress`: names that are not worth it, token.c:set_compression ---- */
typedef struct ps_token_skip ps_token_skip;
/* patterns: separated by one space, matched without regard to case against the last component. NULL: memory. */
ps_token_skip *token_skip_new(const char *patterns);
void token_skip_free(ps_token_skip *s);
bool token_skip_match(const ps_token_skip *s, const char *name);
#endif
