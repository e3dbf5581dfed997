/* Weak stand-ins for parts that have not landed, so that the extension loads; each goes when its owner lands. */
#include "pending.h"
#include <sys/stat.h>
#define WEAK __attribute__((weak))
WEAK int attrs_set_open(ps_ctx *c, int fd, const char *shown, ps_file *f, const struct stat *have, int flags) {
    (void)c, (void)shown, (void)have;
    if (flags & PS_ATTRS_SKIP_MTIME) return 0;
    struct timespec t[2] = {{0, UTIME_OMIT}, {f->mtime, f->mtime_ns}};
    return futimens(fd, t) == 0;
}
WEAK u32 attrs_default_perms(void) { return 0755; }
WEAK u32 attrs_dest_mode(const ps_ctx *c, u32 file_mode, u32 stat_mode, u32 default_perms, bool exists) {
    (void)c;
    return exists ? (file_mode & (u32)~07777) | (stat_mode & 07777) : file_mode & ((u32)~07777 | default_perms);
}
WEAK int alt_dest_path(const ps_ctx *c, int index, const char *path, char *out, size_t cap) {
    (void)c, (void)index, (void)path, (void)out, (void)cap;
    return PS_FAIL;
}
WEAK int render_item(ps_ctx *c, int code, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target,
                     i64 transfer_bytes, i64 checksum_bytes) {
    (void)c, (void)code, (void)all, (void)l, (void)f, (void)iflags, (void)target, (void)transfer_bytes, (void)checksum_bytes;
    return PS_OK;
}
WEAK int rules_check_daemon(ps_rules *r, const char *path, size_t len, bool is_dir) {
    (void)r, (void)path, (void)len, (void)is_dir;
    return 0;
}
WEAK u32 piece_log2(u64 size) { return size ? 18 : 18; }
WEAK u64 piece_count(u64 size) { return size ? (size + 262143) >> 18 : 1; }
WEAK void pieces_root(const u8 *digests, u64 size, u8 out[32]) {
    (void)size;
    memcpy(out, digests, 32);
}
WEAK void blake3_begin_piece(ps_blake3 *b, u64 index, u64 size) {
    (void)index, (void)size;
    blake3_begin(b);
}
WEAK int render_delete(ps_ctx *c, const char *path, u32 mode) {
    (void)c, (void)path, (void)mode;
    return PS_OK;
}
