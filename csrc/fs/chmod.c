#include "fs/attrs.h"

#define MODE_BITS (S_ISUID | S_ISGID | S_ISVTX | 0777u)

static u32 copied_bits(u32 mode, i32 flags) {
    u32 bits = 0, places = 0;
    if (flags & PS_CHMOD_COPY_U) bits |= mode >> 6 & 7;
    if (flags & PS_CHMOD_COPY_G) bits |= mode >> 3 & 7;
    if (flags & PS_CHMOD_COPY_O) bits |= mode & 7;
    if (flags & PS_CHMOD_DST_U) places |= bits << 6;
    if (flags & PS_CHMOD_DST_G) places |= bits << 3;
    if (flags & PS_CHMOD_DST_O) places |= bits;
    return places;
}

u32 chmod_tweak(const ps_ctx *c, u32 mode) {
    bool executable = mode & 0111, dir = S_ISDIR(mode);
    u32 type = mode & ~MODE_BITS;
    for (u32 i = 0; i < c->chmod_count; i++) {
        const ps_chmod_op *op = &c->chmod_ops[i];
        if (dir ? op->flags & PS_CHMOD_FILES_ONLY : op->flags & PS_CHMOD_DIRS_ONLY) continue;
        u32 or_bits = (u32)op->mode_or;
        if (op->flags & (PS_CHMOD_COPY_U | PS_CHMOD_COPY_G | PS_CHMOD_COPY_O)) {
            u32 bits = copied_bits(mode, op->flags) & or_bits;
            mode &= (u32)op->mode_and;
            mode = op->flags & PS_CHMOD_COPY_SUB ? mode & ~bits : mode | bits;
            continue;
        }
        if (op->flags & PS_CHMOD_X_KEEP && !executable && !dir) or_bits &= ~0111u;
        mode = (mode & (u32)op->mode_and) | or_bits;
    }
    return (mode & MODE_BITS) | type;
}
