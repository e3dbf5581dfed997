/* What render.c and its helpers share. */
#ifndef PS_RENDER_INNER_H
#define PS_RENDER_INNER_H
#include "digest/hash.h"
#include "render/render.h"
#include "wire/records.h"

/* lib/compat.c:do_big_num; returns the length. */
size_t big_num(i64 n, int human, char out[40]);
/* lib/permstring.c with the type's letter first; 10 characters. */
/* util1.c:timestring: local time, 19 characters; NUL-terminated. */
void time_string(i64 t, char out[20]);
/* log.c: %i, 11 characters. */
void itemize_string(const ps_opts *o, u32 mode, u32 iflags, char out[12]);
/* util2.c:sum_as_hex: `kind` is PS_SUM_*; 0 when it has no agreed form. out: 2 × PS_LIMIT_CHECKSUM bytes */
size_t sum_hex(int kind, const u8 *sum, char *out);
size_t sum_hex_length(int kind);
#endif
