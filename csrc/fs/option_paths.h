/* Paths that options name: --backup-dir, --partial-dir, --temp-dir, --link-dest and its kin. A user may name any place
 * (open_trusted); a daemon's client none outside of the module, whose root an absolute path means. Relative ones begin at the
 * destination `r`; NULL: it does not exist (a dry run). -1 with errno set. */
#ifndef PS_OPTION_PATHS_H
#define PS_OPTION_PATHS_H
#include "fs/root.h"

int option_open(const ps_ctx *c, const ps_root *r, const char *path, int flags, bool make); /* make: missing directories are made */
int option_parent(const ps_ctx *c, const ps_root *r, const char *path, const char **base);  /* the caller's to close */
int option_file(const ps_ctx *c, const ps_root *r, const char *path, int flags);            /* the last component is no symlink */
int option_lstat(const ps_ctx *c, const ps_root *r, const char *path, struct stat *st);
int option_stat(const ps_ctx *c, const ps_root *r, const char *path, struct stat *st);
/* Where it lies beneath the module, without a slash in front; "." is the module itself. 0: too long. */
size_t option_place(const ps_ctx *c, const char *path, char out[PS_LIMIT_NAME + 2]);

#endif
