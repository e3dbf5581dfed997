/* Modes, owners and times of what was made (rsync.c:set_file_attrs, dest_mode; chmod.c). */
#ifndef PS_ATTRS_H
#define PS_ATTRS_H
#include "core/context.h"

/* What an entry is to have. */
typedef struct ps_attrs {
    i64 mtime;
    u32 mtime_ns, mode, uid, gid;
    bool has_group; /* we may set it */
    bool fresh;     /* a directory that this session has made */
} ps_attrs;

u32 chmod_tweak(const ps_ctx *c, u32 mode); /* chmod.c:tweak_mode with the compiled rules */
u32 attrs_default_perms(const ps_ctx *c);         /* ACCESSPERMS without the umask: dest_mode's default_perms */
u32 attrs_dir_perms(const ps_ctx *c, int dirfd);  /* the same for new entries of a directory: its default ACL, else the umask */
bool attrs_same_time(const ps_ctx *c, i64 a, u32 a_ns, i64 b, u32 b_ns); /* util1.c:same_time */
/* shown: the path beneath the root, as for full_fname. have: the entry's state, NULL when it must be looked up; renewed where a
 * change of owner dropped set-id bits: rsync's items then tell of the mode alone. Returns whether something was changed (or
 * would be, in a dry run). A failure has been logged. */
#define PS_ATTRS_REPORT 1       /* -vv: a line for the entry, changed or up to date */
#define PS_ATTRS_SKIP_MTIME 2
#define PS_ATTRS_ACCURATE_TIME 4
int attrs_set(ps_ctx *c, int dirfd, const char *name, const char *shown, ps_attrs a, struct stat *have, int flags);
/* The same for an open file: fd instead of the name. */
int attrs_set_open(ps_ctx *c, int fd, const char *shown, ps_attrs a, struct stat *have, int flags);
int attrs_chmod(int dirfd, const char *name, mode_t mode); /* never of what a symlink points to. errno */
u32 attrs_dest_mode(const ps_ctx *c, u32 file_mode, u32 stat_mode, u32 default_perms, bool exists); /* rsync.c:dest_mode */

#endif
