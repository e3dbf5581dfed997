/* Names beneath a root: every path of a transfer is walked from the root's descriptor, never from "/" or the cwd.
 * openat2(RESOLVE_BENEATH) where the kernel has it, else component by component with O_NOFOLLOW. */
#ifndef PS_ROOT_H
#define PS_ROOT_H
#include "core/context.h"

typedef struct ps_root ps_root;
ps_root *root_open(ps_ctx *c, const char *path, bool create); /* NULL: error is set */
ps_root *root_from_fd(ps_ctx *c, int fd);                     /* takes the descriptor over */
/* The root is the process's root directory, as in a chroot: an absolute symlink stays within it, and is followed. */
void root_is_whole(ps_root *r);
bool root_whole(const ps_root *r);
void root_free(ps_root *r);
int root_fd(const ps_root *r);
/* Descriptor of the directory `path` ("" = the root itself), O_PATH-like use with *at calls; owned by the root,
 * valid until the next root_dir call with another path (small cache, most recent first). -1 with errno set. */
int root_dir(ps_root *r, const char *path, size_t len);
void root_forget(ps_root *r, const char *path, size_t len); /* a directory was removed or replaced: drop it and all below */
/* Opens a file beneath the root by its whole path. */
int root_openat(ps_root *r, const char *path, int flags, mode_t mode);
/* A path that the operator gave, absolute or counted from dirfd. It may lie anywhere, but symlinks are followed only where
 * root or we own them (rsync's open_no_attacker_symlinks): whoever else can write to a directory on the way leads us nowhere.
 * -1 with errno set, ELOOP for such a symlink. make: missing directories are made. */
int open_trusted(int dirfd, const char *path, int flags, bool make);
int open_trusted_parent(int dirfd, const char *path, const char **base); /* descriptor of its directory, the caller's to close */
int open_trusted_file(int dirfd, const char *path, int flags);           /* the last component must not be a symlink at all */
/* The directory of `path` and a pointer to its last component. -1 with errno set. */
int root_parent(ps_root *r, const char *path, const char **base);
#endif
