#include "output/basis.h"

#include <fcntl.h>
#include <stdio.h>

#include "fs/attrs.h"
#include "fs/option_paths.h"
#include "wire/records.h"

int alt_dest_path(const ps_ctx *c, int index, const char *path, char *out, size_t cap) {
    if (index < 0 || (u32)index >= c->alt_count) return PS_FAIL;
    const char *dir = c->alt_dirs[index];
    size_t n = strlen(dir);
    int len = snprintf(out, cap, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", path);
    if (len <= 0 || (size_t)len >= cap) return PS_FAIL;
    char place[PS_LIMIT_NAME + 3] = "/";
    if (!c->hides) return PS_OK;
    size_t at = option_place(c, out, place + 1);
    return at && !ctx_hides(c, place, at + 1, false) ? PS_OK : PS_FAIL;
}

int basis_open(ps_outs *o, ps_root *dest, u8 kind, const char *path, bool *from_partial) {
    const ps_ctx *c = outs_context(o);
    *from_partial = false;
    if (kind <= PS_BASIS_DIR_HIGH) {
        char alt[2 * PS_LIMIT_NAME];
        if (alt_dest_path(c, kind, path, alt, sizeof alt) == PS_OK) return option_file(c, dest, alt, O_RDONLY | O_NONBLOCK);
        errno = ENOENT;
        return -1;
    }
    if (kind == PS_BASIS_PARTIAL_DIR && ps_str(c, PS_STR_PARTIAL_DIR)) {
        int fd = outs_open_partial(o, path);
        *from_partial = fd >= 0;
        return fd;
    }
    return root_openat(dest, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
}

void basis_settle_mode(const ps_ctx *c, ps_new_modes *modes, ps_root *dest, ps_file *f, const char *path, const struct stat *have) {
    if (c->o.perms) return;
    if (!have && modes->dir != f->dir) {
        const char *leaf;
        int dir = root_parent(dest, path, &leaf);
        modes->perms = dir < 0 ? attrs_default_perms(c) : attrs_dir_perms(c, dir);
        modes->dir = f->dir;
    }
    f->mode = attrs_dest_mode(c, f->mode, have ? (u32)have->st_mode : 0, modes->perms, have != NULL);
}
