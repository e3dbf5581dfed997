/* Read by cffi as well: declarations and `#define NAME number` only.
 * A token stream in both directions without a session around it: for tests, fuzzing and the recording of vectors. */
#ifndef PS_TOKEN_API_H
#define PS_TOKEN_API_H

#define PS_TOKEN_MORE 0
#define PS_TOKEN_LITERAL 1
#define PS_TOKEN_BLOCK 2
#define PS_TOKEN_END 3
#define PS_TOKEN_BAD 4

typedef struct ps_token_probe ps_token_probe;
ps_token_probe *ps_token_probe_new(ps_ctx *c); /* by the context's compress, compress_level and protocol */
void ps_token_probe_free(ps_token_probe *p);
int ps_token_probe_begin(ps_token_probe *p, bool compress_this_file);
int ps_token_probe_literal(ps_token_probe *p, const uint8_t *data, size_t n);
int ps_token_probe_block(ps_token_probe *p, int32_t block, const uint8_t *data, size_t n);
int ps_token_probe_end(ps_token_probe *p);
const uint8_t *ps_token_probe_encoded(ps_token_probe *p, size_t *len); /* all since the last clear */
void ps_token_probe_clear(ps_token_probe *p);

void ps_token_probe_begin_in(ps_token_probe *p);
void ps_token_probe_feed(ps_token_probe *p, const uint8_t *data, size_t len); /* data stays in use until PS_TOKEN_MORE */
int ps_token_probe_next(ps_token_probe *p, const uint8_t **data, size_t *len, int32_t *block); /* PS_TOKEN_* */
size_t ps_token_probe_left(const ps_token_probe *p); /* bytes of the feed not taken */
void ps_token_probe_see(ps_token_probe *p, const uint8_t *data, size_t n);

bool ps_token_skips(const char *patterns, const char *name); /* `dont compress` */

#endif
