/* Token streams (token.c of rsync): literal runs and block references, plain or compressed. Owner: token. */
#ifndef PS_TOKEN_H
#define PS_TOKEN_H
#include "hash.h"
#include "mux.h"

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
void token_out_begin(ps_token_out *t, bool compress_this_file); /* `dont compress` suffixes: level 0 as rsync does */
int token_out_literal(ps_token_out *t, ps_mux_out *m, const u8 *data, size_t n);
int token_out_block(ps_token_out *t, ps_mux_out *m, i32 block, const u8 *data, size_t n); /* data: for zlib's history; NULL else */
int token_out_end(ps_token_out *t, ps_mux_out *m);
#endif
