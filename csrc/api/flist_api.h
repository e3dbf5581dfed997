/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_FLIST_API_H
#define PS_FLIST_API_H
typedef struct ps_flists ps_flists;
typedef struct ps_flist ps_flist;
typedef struct ps_root ps_root;

/* All lists of a transfer; the options must be set before. Freed after everything that uses it. */
ps_flists *ps_flists_new(ps_ctx *c);
void ps_flists_free(ps_flists *all);

/* The directory beneath which names are resolved. create: made when missing (with its parents under --mkpath).
 * NULL: ps_ctx_error says why. */
ps_root *ps_root_open(ps_ctx *c, const char *path, bool create);
ps_root *ps_root_from_fd(ps_ctx *c, int fd); /* takes the descriptor over */
void ps_root_free(ps_root *r);
int ps_root_fd(const ps_root *r);
#endif
