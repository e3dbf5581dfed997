/* What a new file in a directory may have without -p: its default ACL, or the umask (acls.c:default_perms_for_dir). */
#include "fs/attrs.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ACL_VERSION 2
#define TAG_USER_OBJ 0x01
#define TAG_GROUP_OBJ 0x04
#define TAG_MASK 0x10
#define TAG_OTHER 0x20
#define ACL_BYTES (4 + 8 * 512) /* a longer one is left to the umask */

/* The kernel's form: u32 version, then {u16 tag, u16 permissions, u32 id}. false: none that can be read. */
static bool acl_perms(const u8 *acl, size_t len, u32 *perms) {
    ps_reader r = rd_make(acl, len);
    u32 user = 0, group = 0, mask = 0, other = 0;
    bool has_user = false, has_mask = false;
    if (rd_u32(&r) != ACL_VERSION || !rd_ok(&r)) return false;
    while (rd_left(&r) >= 8) {
        u16 tag = rd_u16(&r), bits = rd_u16(&r) & 7;
        rd_u32(&r);
        if (tag == TAG_USER_OBJ) user = bits, has_user = true;
        if (tag == TAG_GROUP_OBJ) group = bits;
        if (tag == TAG_MASK) mask = bits, has_mask = true;
        if (tag == TAG_OTHER) other = bits;
    }
    *perms = user << 6 | (has_mask ? mask : group) << 3 | other;
    return has_user;
}

u32 attrs_dir_perms(const ps_ctx *c, int dirfd) {
    u8 acl[ACL_BYTES];
    u32 perms;
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* dirfd may be of the kind that reads nothing */
    ssize_t n = fd < 0 ? -1 : fgetxattr(fd, "system.posix_acl_default", acl, sizeof acl);
    if (fd >= 0) close(fd);
    return n > 0 && acl_perms(acl, (size_t)n, &perms) ? perms : attrs_default_perms(c);
}
