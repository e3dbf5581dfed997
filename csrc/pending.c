/* Weak stand-ins for the rendering until it lands, so that the extension loads. */
#include "transfer.h"
#define WEAK __attribute__((weak))
WEAK int render_item(ps_ctx *c, int code, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target,
                     i64 transfer_bytes, i64 checksum_bytes) {
    (void)c, (void)code, (void)all, (void)l, (void)f, (void)iflags, (void)target, (void)transfer_bytes, (void)checksum_bytes;
    return PS_OK;
}
WEAK int render_delete(ps_ctx *c, const char *path, u32 mode) {
    (void)c, (void)path, (void)mode;
    return PS_OK;
}
