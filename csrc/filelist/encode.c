/* Entries of the file list as they are sent: flist.c:send_file_entry, protocols 27 to 32. */
#include "filelist/lister_inner.h"

#include <sys/sysmacros.h>

/* ---- records: at most `record` bytes, whose size bounds every entry ------------------------------- */

typedef struct writer {
    u8 *p;
} writer;

static void w_u8(writer *w, u32 v) { *w->p++ = (u8)v; }
static void w_bytes(writer *w, const void *s, size_t n) {
    if (n) memcpy(w->p, s, n);
    w->p += n;
}
static void w_u32(writer *w, u32 v) {
    for (int i = 0; i < 4; i++) w_u8(w, v >> (8 * i));
}

/* The forms of io.c:write_varlong with min_bytes >= 3, and write_varint as its form for 1 and 4 significant bytes. */
static void w_long(writer *w, u64 v, int min_bytes, int bytes) {
    u8 b[9] = {0};
    int count = bytes;
    for (int i = 0; i < bytes; i++) b[i + 1] = (u8)(v >> (8 * i));
    while (count > min_bytes && !b[count]) count--;
    u8 bit = (u8)(1u << (7 - count + min_bytes));
    if (b[count] >= bit) {
        b[0] = (u8)~(bit - 1);
        count++;
    } else if (count > min_bytes) {
        b[0] = (u8)(b[count] | (u8) ~(bit * 2 - 1));
    } else {
        b[0] = b[count];
    }
    w_bytes(w, b, (size_t)count);
}
static void w_varint(writer *w, u32 v) { w_long(w, v, 1, 4); }
static void w_varlong(writer *w, i64 v, int min_bytes) { w_long(w, (u64)v, min_bytes, 8); }

static void w_varint30(writer *w, int protocol, u32 v) {
    if (protocol >= 30)
        w_varint(w, v);
    else
        w_u32(w, v);
}
/* io.c:write_longint: what does not fit an i32 takes a mark and eight bytes. */
static void w_longint(writer *w, i64 v) {
    if (v >= 0 && v <= INT32_MAX) {
        w_u32(w, (u32)v);
        return;
    }
    w_u32(w, UINT32_MAX);
    w_u32(w, (u32)(u64)v);
    w_u32(w, (u32)((u64)v >> 32));
}

/* ---- an entry -------------------------------------------------------------------------------------- */

static u32 type_flags(ps_lister *l, const ps_file *f) {
    ps_stats *s = &l->ctx->stats;
    if (S_ISREG(f->mode)) return 0;
    if (S_ISDIR(f->mode)) {
        s->num_dirs++;
        if (l->ctx->o.protocol < 30) return f->flags & PS_F_TOP_DIR ? XMIT_TOP_DIR : 0;
        if (f->flags & PS_F_CONTENT_DIR) return f->flags & PS_F_TOP_DIR ? XMIT_TOP_DIR : 0;
        return f->flags & PS_F_IMPLIED_DIR ? XMIT_TOP_DIR | XMIT_NO_CONTENT_DIR : XMIT_NO_CONTENT_DIR;
    }
    if (S_ISLNK(f->mode))
        s->num_symlinks++;
    else if (mode_is_device(f->mode))
        s->num_devices++;
    else
        s->num_specials++;
    return 0;
}

/* Protocol 27 sends major and minor in one number, which every entry without one makes 0. */
static u32 device_flags_27(ps_lister *l, const ps_file *f) {
    const ps_opts *o = &l->ctx->o;
    sent_before *b = &l->before;
    if (o->devices && mode_is_device(f->mode)) {
        if (l->x.rdev_major == b->rdev_major && l->x.rdev_minor == b->rdev_minor) return XMIT_SAME_RDEV_27;
        b->rdev_major = l->x.rdev_major;
        b->rdev_minor = l->x.rdev_minor;
        return 0;
    }
    if (o->specials && mode_is_special(f->mode)) return XMIT_SAME_RDEV_27;
    b->rdev_major = b->rdev_minor = 0;
    return 0;
}

static u32 device_flags(ps_lister *l, const ps_file *f) {
    const ps_opts *o = &l->ctx->o;
    if (o->protocol < 28) return device_flags_27(l, f);
    if (o->devices && mode_is_device(f->mode)) {
        u32 flags = o->protocol < 30 && l->x.rdev_minor <= 0xff ? XMIT_RDEV_MINOR_8_29 : 0;
        if (l->x.rdev_major == l->before.rdev_major) return flags | XMIT_SAME_RDEV_MAJOR;
        l->before.rdev_major = l->x.rdev_major;
        return flags;
    }
    if (!o->specials || !mode_is_special(f->mode) || o->protocol >= 31) return 0;
    l->x.rdev_minor = 0; /* a number that nobody uses, sent in its shortest form */
    return XMIT_SAME_RDEV_MAJOR | (o->protocol < 30 ? XMIT_RDEV_MINOR_8_29 : 0);
}

static u32 owner_flags(ps_lister *l, const ps_file *f, const char **user, const char **group) {
    const ps_opts *o = &l->ctx->o;
    sent_before *b = &l->before;
    u32 flags = 0;
    *user = *group = NULL;
    if (!o->owner || (f->uid == b->uid && b->name_len)) {
        flags |= XMIT_SAME_UID;
    } else {
        b->uid = f->uid;
        if (!o->numeric_ids) *user = ids_add_user(ids_of(l->ctx), f->uid);
        if (!o->inc_recurse) *user = NULL;
        if (*user) flags |= XMIT_USER_NAME_FOLLOWS;
    }
    if (!o->group || (f->gid == b->gid && b->name_len)) {
        flags |= XMIT_SAME_GID;
    } else {
        b->gid = f->gid;
        if (!o->numeric_ids) *group = ids_add_group(ids_of(l->ctx), f->gid);
        if (!o->inc_recurse) *group = NULL;
        if (*group) flags |= XMIT_GROUP_NAME_FOLLOWS;
    }
    return flags;
}

static void w_flags(writer *w, const ps_opts *o, u32 flags, bool dir) {
    if (o->varint_flist_flags) {
        w_varint(w, flags ? flags : XMIT_EXTENDED_FLAGS);
        return;
    }
    if (o->protocol < 28) {
        w_u8(w, flags);
        return;
    }
    if (!flags && !dir) flags = XMIT_TOP_DIR; /* means nothing here; a zero would end the list */
    if (flags & 0xff00 || !flags) flags |= XMIT_EXTENDED_FLAGS;
    w_u8(w, flags);
    if (flags & XMIT_EXTENDED_FLAGS) w_u8(w, flags >> 8);
}

static void w_name(writer *w, int protocol, u32 flags, const char *path, size_t shared, size_t len) {
    if (flags & XMIT_SAME_NAME) w_u8(w, (u32)shared);
    if (flags & XMIT_LONG_NAME)
        w_varint30(w, protocol, (u32)(len - shared));
    else
        w_u8(w, (u32)(len - shared));
    w_bytes(w, path + shared, len - shared);
}

static void w_id(writer *w, int protocol, u32 id, const char *name) {
    w_varint30(w, protocol, id);
    if (!name) return;
    size_t n = strnlen(name, PS_LIMIT_ID_NAME);
    w_u8(w, (u32)n);
    w_bytes(w, name, n);
}

static size_t shared_prefix(const ps_lister *l, const char *path, size_t len) {
    size_t most = len < l->before.name_len ? len : l->before.name_len, n = 0;
    if (most > 255) most = 255;
    while (n < most && path[n] == l->before.name[n]) n++;
    return n;
}

static void w_mtime(writer *w, int protocol, i64 mtime) {
    if (protocol >= 30)
        w_varlong(w, mtime, 4);
    else
        w_u32(w, (u32)mtime);
}

static const u8 no_sum[PS_LIMIT_CHECKSUM]; /* protocol 27 sends one for what is no file too */

static void w_device(writer *w, int protocol, u32 flags, u32 major, u32 minor) {
    if (protocol < 28) {
        if (!(flags & XMIT_SAME_RDEV_27)) w_u32(w, (u32)makedev(major, minor));
        return;
    }
    if (!(flags & XMIT_SAME_RDEV_MAJOR)) w_varint30(w, protocol, major);
    if (protocol < 30 && flags & XMIT_RDEV_MINOR_8_29)
        w_u8(w, minor);
    else
        w_varint30(w, protocol, minor);
}

/* -H before protocol 30: every name of a file says which one it is. In protocol 27 the receiver counts on it for all files. */
static bool identified(const ps_lister *l, const ps_file *f) {
    const ps_opts *o = &l->ctx->o;
    if (o->protocol >= 30 || !o->hard_links) return false;
    return o->protocol >= 28 ? l->x.hard_linked : S_ISREG(f->mode);
}

static u32 identity_flags(ps_lister *l) {
    sent_before *b = &l->before;
    bool same = b->any_dev && b->dev == l->x.dev;
    b->any_dev = true;
    b->dev = l->x.dev;
    return XMIT_HLINKED | (same && l->ctx->o.protocol >= 28 ? XMIT_SAME_DEV_29 : 0);
}

static void w_identity(writer *w, u32 flags, u64 dev, u64 ino) {
    if (!(flags & XMIT_SAME_DEV_29)) w_longint(w, (i64)(dev + 1)); /* never 0 */
    w_longint(w, (i64)ino);
}

bool lister_put_entry(ps_lister *l, const char *path, size_t len, ps_file *f) {
    const ps_opts *o = &l->ctx->o;
    sent_before *b = &l->before;
    const char *user, *group;
    int protocol = o->protocol;
    i32 first = -1, ndx = l->list->ndx_start + (i32)l->list->count - 1;
    u32 flags = type_flags(l, f);
    if (f->mode == b->mode) flags |= XMIT_SAME_MODE;
    b->mode = f->mode;
    flags |= device_flags(l, f) | owner_flags(l, f, &user, &group);
    if (f->mtime == b->mtime) flags |= XMIT_SAME_TIME;
    b->mtime = f->mtime;
    if (f->mtime_ns && protocol >= 31) flags |= XMIT_MOD_NSEC;
    bool identity = identified(l, f);
    if (identity) {
        flags |= identity_flags(l);
    } else if (l->x.hard_linked && protocol >= 30) {
        if ((first = inodes_number(&l->inodes, l->x.dev, l->x.ino, ndx)) < 0) return false;
        flags |= first == ndx ? XMIT_HLINKED | XMIT_HLINK_FIRST : XMIT_HLINKED;
        if (first == ndx) first = -1;
    }
    size_t shared = shared_prefix(l, path, len);
    if (shared) flags |= XMIT_SAME_NAME;
    if (len - shared > 255) flags |= XMIT_LONG_NAME;

    if (protocol < 28 && !(flags & 0xff)) flags |= S_ISDIR(f->mode) ? XMIT_LONG_NAME : XMIT_TOP_DIR; /* as below, for its one byte */

    writer w = {l->record};
    w_flags(&w, o, flags, S_ISDIR(f->mode));
    w_name(&w, protocol, flags, path, shared, len);
    if (first >= 0) w_varint(&w, (u32)first);
    if (first < l->list->ndx_start) { /* else the receiver copies the rest from the first entry */
        if (protocol >= 30)
            w_varlong(&w, f->size, 3);
        else
            w_longint(&w, f->size);
        if (!(flags & XMIT_SAME_TIME)) w_mtime(&w, protocol, f->mtime);
        if (flags & XMIT_MOD_NSEC) w_varint(&w, f->mtime_ns);
        if (!(flags & XMIT_SAME_MODE)) w_u32(&w, f->mode);
        if (o->owner && !(flags & XMIT_SAME_UID)) w_id(&w, protocol, f->uid, user);
        if (o->group && !(flags & XMIT_SAME_GID)) w_id(&w, protocol, f->gid, group);
        if ((o->devices && mode_is_device(f->mode)) || (o->specials && mode_is_special(f->mode) && protocol < 31))
            w_device(&w, protocol, flags, l->x.rdev_major, l->x.rdev_minor);
        if (o->links && S_ISLNK(f->mode)) {
            w_varint30(&w, protocol, l->x.link_len);
            w_bytes(&w, l->x.link, l->x.link_len);
        }
        if (identity) w_identity(&w, flags, l->x.dev, l->x.ino);
        if (o->checksum && (S_ISREG(f->mode) || protocol < 28))
            w_bytes(&w, S_ISREG(f->mode) ? l->x.sum : no_sum, sum_length(o->file_sum));
    }
    memcpy(b->name + shared, path + shared, len - shared);
    b->name_len = (u32)len;
    if (S_ISREG(f->mode) || S_ISLNK(f->mode)) l->ctx->stats.total_size += f->size;
    size_t n = (size_t)(w.p - l->record);
    l->ctx->stats.flist_size += (i64)n;
    return mux_out_data(l->out, l->record, n);
}

/* flist.c:write_end_of_flist */
bool lister_put_end(ps_lister *l, bool with_io_error) {
    writer w = {l->record};
    if (l->ctx->o.varint_flist_flags) {
        w_u8(&w, 0);
        w_varint(&w, with_io_error ? (u32)l->ctx->io_error : 0);
    } else if (with_io_error) {
        w_u8(&w, XMIT_EXTENDED_FLAGS);
        w_u8(&w, XMIT_IO_ERROR_ENDLIST >> 8);
        w_varint(&w, (u32)l->ctx->io_error);
    } else {
        w_u8(&w, 0);
    }
    size_t n = (size_t)(w.p - l->record);
    l->ctx->stats.flist_size += (i64)n;
    return mux_out_data(l->out, l->record, n);
}
