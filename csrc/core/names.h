/* Names of a transfer: cleaned (util1.c:clean_fname), judged (unsafe_symlink), shown (full_fname). */
#ifndef PS_NAMES_H
#define PS_NAMES_H
#include "core/context.h"

#define PS_CLEAN_KEEP_SLASH 1     /* a slash at the end stays */
#define PS_CLEAN_DROP_DOT 2       /* "a/." becomes "a/" (or "a") */
#define PS_CLEAN_REFUSE_DOTDOT 4  /* -1 for any ".." component */
/* In place: one slash for many, no "." components but a last one, no slash at the end; "" becomes ".". Room for one
 * byte more than len is needed. Returns the new length, -1 when refused. NUL-terminates. */
long name_clean(char *name, size_t len, int flags);
/* util1.c:sanitize_path: no slash at the start, and not above where it begins, but for the first `depth` ".." components;
 * keep_dots: "." components stay. out: room for len + 2 bytes, may be s; the new length; NUL-terminates. */
size_t name_sanitize(const char *s, size_t len, int depth, bool keep_dots, char *out);
/* util1.c:unsafe_symlink: the target of the link `path` leads out of the transfer. */
bool link_is_unsafe(const char *target, const char *path);
/* util1.c:full_fname: the path in quotes beneath PS_STR_CURR_DIR, with the module's name on a daemon. Returns out. */
#define PS_FULL_FNAME 8704
const char *full_fname(const ps_ctx *c, const char *path, char out[PS_FULL_FNAME]);
#endif
