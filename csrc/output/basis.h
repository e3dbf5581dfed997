/* What a new file is made from: its basis, and the mode of what it replaces. */
#ifndef PS_BASIS_H
#define PS_BASIS_H
#include "output/output.h"

/* Where an alternate destination has the entry: relative to the destination, or absolute where the user gave it so. PS_FAIL: no
 * such destination, or the path is too long. */
int alt_dest_path(const ps_ctx *c, int index, const char *path, char *out, size_t cap);
/* Opens the basis of a kind (PS_BASIS_*) for reading, beneath `dest`; -1: errno. *from_partial: it is the file in --partial-dir. */
int basis_open(ps_outs *o, ps_root *dest, u8 kind, const char *path, bool *from_partial);
/* What a file gets without -p (receiver.c): the mode of what is there, else what its directory gives. */
typedef struct ps_new_modes {
    u32 dir, perms; /* the directory that was looked up last, UINT32_MAX none */
} ps_new_modes;
/* have: the state of what is there; NULL: nothing. */
void basis_settle_mode(const ps_ctx *c, ps_new_modes *modes, ps_root *dest, ps_file *f, const char *path, const struct stat *have);

#endif
