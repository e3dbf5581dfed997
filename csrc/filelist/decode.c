/* The file list as it is received: flist.c:recv_file_list, recv_file_entry; protocols 27 to 32. */
#include "filelist/decoder.h"
#include "digest/hash.h"
#include "filelist/ids.h"
#include "filelist/implied.h"
#include "filelist/inodes.h"
#include "core/names.h"
#include "filelist/xmit.h"

#include <stdlib.h>
#include <sys/sysmacros.h>

typedef enum { AT_ENTRIES, AT_USERS, AT_USER0, AT_GROUPS, AT_GROUP0, AT_IO_ERROR, AT_END } list_part;

/* What an entry may leave out because it is as in the entry before. */
typedef struct same_as {
    i64 mtime;
    u32 mode, uid, gid, rdev_major, rdev_minor;
    u16 gid_flags;
    u64 dev;     /* of the last hard link, before protocol 30 */
} same_as;

/* One entry as it stands in the input; pointers into it. */
typedef struct wire_entry {
    u32 flags, prefix, name_len;
    const u8 *name, *user, *group, *link, *sum;
    u32 user_len, group_len, link_len;
    i64 size, mtime;
    u32 mtime_ns, mode, uid, gid, rdev_major, rdev_minor;
    i32 first;        /* hard links: group as sent, -1 */
    u64 dev, ino;     /* before protocol 30: the file that hard links are names of */
    bool abbreviated; /* all but the name is as in the group's first entry, which is in this list */
} wire_entry;

struct ps_flist_decoder {
    ps_ctx *ctx;
    ps_flists *all;
    ps_rules *rules;
    ps_implied *implied; /* NULL: names are not checked against the arguments */
    ps_flist *list;      /* being received */
    list_part part;
    same_as same;
    u32 sum_len, sum_cap;
    u64 most; /* entries of all lists */
    bool check_rules, check_implied, first_list;
    u32 expected_dir, good_dir; /* inc_recurse: the directory that all entries must lie in */
    bool prefix_known;          /* the last name was clean: its directory is base_dir, base_at bytes of it */
    u32 base_dir, base_at, last_len;
    inode_table inodes;         /* -H before protocol 30: the files that names were sent for */
    bool in_argument;           /* before protocol 30: below an argument's directory, which is argument_len bytes of the names */
    u32 argument_len;
    char last[PS_LIMIT_NAME + 2];
};

ps_flist_decoder *flist_decoder_new(ps_ctx *c, ps_flists *all, ps_rules *rules) {
    ps_flist_decoder *d = calloc(1, sizeof *d);
    if (!d) {
        ps_fail_memory(c, "the file list");
        return NULL;
    }
    d->ctx = c;
    d->all = all;
    d->rules = rules;
    d->most = PS_LIMIT_LIST_ENTRIES;
    d->sum_len = c->o.checksum ? (u32)sum_length(c->o.file_sum) : 0;
    all->rules = rules;
    d->part = AT_END;
    return d;
}

void flist_decoder_limit(ps_flist_decoder *d, u64 most) { d->most = most; }

void flist_decoder_free(ps_flist_decoder *d) {
    if (!d) return;
    flist_free(d->list);
    implied_free(d->implied);
    inodes_free(&d->inodes);
    free(d);
}

const ps_flist *flist_decoder_list(const ps_flist_decoder *d) { return d->list; }

int flist_decoder_imply(ps_flist_decoder *d, const char *arg, size_t len, bool skip_module) {
    if (d->ctx->o.trust_sender) return PS_OK;
    if (!d->implied && !(d->implied = implied_new(&d->ctx->o))) return ps_fail_memory(d->ctx, "the arguments");
    return implied_add(d->implied, arg, len, skip_module) ? PS_OK : ps_fail_memory(d->ctx, "the arguments");
}

static const char *who(const ps_flist_decoder *d) { return d->first_list ? "Receiver" : "receiver"; }

static bool shows_progress(const ps_ctx *c) {
    return c->o.info_flist >= 1 && (c->o.recurse || c->o.dirs) && !c->o.am_server && !c->o.inc_recurse;
}

/* ---- beginning a list -------------------------------------------------------------------------- */

static int check_parent(ps_flist_decoder *d, i32 parent) {
    ps_ctx *c = d->ctx;
    if ((u32)parent >= d->all->dir_entry_count)
        return ps_fail(c, 2, 0, "refusing invalid dir_ndx %d >= %u", parent, d->all->dir_entry_count);
    ps_dir_entry *e = &d->all->dir_entries[parent];
    bool dot = e->file.name_len == 1 && *arena_at(&d->all->dir_arena, e->file.name) == '.';
    if (!file_active(&e->file) || dot) return ps_fail(c, 2, 0, "refusing flist for cleared dir_ndx %d", parent);
    if (e->got_list) return ps_fail(c, 2, 0, "refusing malicious duplicate flist for dir %d", parent);
    e->got_list = true;
    d->expected_dir = e->self;
    return PS_OK;
}

int flist_decoder_begin(ps_flist_decoder *d, i32 parent) {
    ps_ctx *c = d->ctx;
    const ps_opts *o = &c->o;
    if (o->acls || o->xattrs) return ps_fail(c, 4, 0, "file lists with ACLs or extended attributes are not supported yet");
    d->first_list = parent < 0;
    d->expected_dir = 0;
    if (d->first_list) {
        if (d->all->first || d->all->total_count) return ps_fail(c, 2, 0, "a second first file list from the remote");
        if (shows_progress(c))
            ps_log(c, PS_LOG_CLIENT, "receiving file list ... ");
        else if (o->inc_recurse && o->info_flist >= 1 && !o->am_server)
            ps_log(c, PS_LOG_CLIENT, "receiving incremental file list\n");
        ps_log(c, PS_LOG_LOG, "receiving file list\n");
    } else if (check_parent(d, parent) != PS_OK) {
        return PS_FAIL;
    }
    d->check_rules = d->rules && !o->am_server && rules_check_received(d->rules);
    d->check_implied = d->implied && implied_any(d->implied);
    d->good_dir = UINT32_MAX;
    flist_free(d->list);
    d->list = flist_make(d->all, 0);
    if (!d->list) return ps_fail_memory(c, "the file list");
    d->list->parent_ndx = parent;
    d->list->sum_len = d->sum_len;
    d->sum_cap = 0;
    d->part = AT_ENTRIES;
    return PS_OK;
}

/* ---- reading an entry -------------------------------------------------------------------------- */

static int short_or_bad(ps_flist_decoder *d, const ps_reader *r) {
    return r->bad ? ps_fail(d->ctx, 12, 0, "overflow in read_varint() of the file list [%s]", who(d)) : PS_AGAIN;
}

static int read_name(ps_flist_decoder *d, ps_reader *r, wire_entry *e) {
    e->prefix = e->flags & XMIT_SAME_NAME ? rd_u8(r) : 0;
    e->name_len = e->flags & XMIT_LONG_NAME ? (u32)rd_varint30(r, d->ctx->o.protocol) : rd_u8(r);
    if (PS_UNLIKELY(!rd_ok(r))) return short_or_bad(d, r);
    if (PS_UNLIKELY(e->name_len > PS_LIMIT_NAME - e->prefix || e->prefix > d->last_len))
        return ps_fail(d->ctx, 22, 0, "overflow: xflags=0x%x l1=%u l2=%d lastname=%s [%s]", e->flags, e->prefix, (i32)e->name_len,
                       d->last, who(d));
    e->name = rd_bytes(r, e->name_len);
    return e->name ? PS_OK : PS_AGAIN;
}

/* A later name of a file of which the first one stands in this list: everything else is as there. */
static void copy_first(ps_flist_decoder *d, wire_entry *e) {
    const ps_flist *l = d->list;
    const ps_file *first = &l->files[e->first - l->ndx_start];
    const ps_file_extra *x = file_extra(l, first);
    e->abbreviated = true;
    e->size = first->size;
    e->mtime = first->mtime;
    e->mtime_ns = first->mtime_ns;
    e->mode = first->mode;
    if (d->ctx->o.owner) e->uid = first->uid;
    if (d->ctx->o.group) e->gid = first->gid;
    if (x && mode_is_device(e->mode)) {
        e->rdev_major = x->rdev_major;
        e->rdev_minor = x->rdev_minor;
    }
}

static int read_link_group(ps_flist_decoder *d, ps_reader *r, wire_entry *e) {
    const ps_flist *l = d->list;
    e->first = rd_varint(r);
    if (!rd_ok(r)) return short_or_bad(d, r);
    if (e->first < 0 || e->first >= l->ndx_start + (i32)l->count)
        return ps_fail(d->ctx, 2, 0, "hard-link reference out of range: %d (%d)", e->first, l->ndx_start + (i32)l->count);
    if (e->first >= l->ndx_start) copy_first(d, e);
    return PS_OK;
}

static int read_mode(ps_flist_decoder *d, ps_reader *r, wire_entry *e) {
    u32 mode = rd_u32(r);
    if (!rd_ok(r)) return PS_AGAIN;
    u32 type = mode & S_IFMT;
    bool known = type == S_IFREG || type == S_IFDIR || type == S_IFLNK || mode_is_device(mode) || mode_is_special(mode);
    if (!known || mode >> 16)
        return ps_fail(d->ctx, 2, 0, "invalid file mode 0%o for %.*s [%s]", mode, (int)e->name_len, (const char *)e->name, who(d));
    e->mode = mode;
    return PS_OK;
}

static void read_owner(const ps_opts *o, ps_reader *r, wire_entry *e) {
    if (o->owner && !(e->flags & XMIT_SAME_UID)) {
        e->uid = (u32)rd_varint30(r, o->protocol);
        if (o->protocol >= 30 && e->flags & XMIT_USER_NAME_FOLLOWS) {
            e->user_len = rd_u8(r);
            e->user = rd_bytes(r, e->user_len);
        }
    }
    if (o->group && !(e->flags & XMIT_SAME_GID)) {
        e->gid = (u32)rd_varint30(r, o->protocol);
        if (o->protocol >= 30 && e->flags & XMIT_GROUP_NAME_FOLLOWS) {
            e->group_len = rd_u8(r);
            e->group = rd_bytes(r, e->group_len);
        }
    }
}

static int read_link(ps_flist_decoder *d, ps_reader *r, wire_entry *e) {
    e->link_len = (u32)rd_varint30(r, d->ctx->o.protocol);
    if (!rd_ok(r)) return short_or_bad(d, r);
    if (e->link_len > PS_LIMIT_LINK_TARGET) return ps_fail(d->ctx, 22, 0, "overflow: linkname_len=%d", (i32)e->link_len);
    e->link = rd_bytes(r, e->link_len);
    return e->link ? PS_OK : PS_AGAIN;
}

static void read_size_and_time(int protocol, ps_reader *r, wire_entry *e) {
    e->size = rd_varlong30(r, protocol, 3);
    if (!(e->flags & XMIT_SAME_TIME)) e->mtime = protocol >= 30 ? rd_varlong(r, 4) : (i64)rd_u32(r);
}

static void read_device(int protocol, ps_reader *r, wire_entry *e) {
    if (protocol < 28) {
        if (e->flags & XMIT_SAME_RDEV_27) return;
        dev_t rdev = (dev_t)rd_u32(r);
        e->rdev_major = major(rdev);
        e->rdev_minor = minor(rdev);
        return;
    }
    if (!(e->flags & XMIT_SAME_RDEV_MAJOR)) e->rdev_major = (u32)rd_varint30(r, protocol);
    e->rdev_minor = protocol < 30 && e->flags & XMIT_RDEV_MINOR_8_29 ? rd_u8(r) : (u32)rd_varint30(r, protocol);
}

static void read_identity(int protocol, ps_reader *r, wire_entry *e) {
    if (protocol < 28 || !(e->flags & XMIT_SAME_DEV_29)) e->dev = (u64)rd_longint(r);
    e->ino = (u64)rd_longint(r);
}

/* What another kind of entry has for a checksum in protocol 27 says nothing. */
static bool read_sum(const ps_flist_decoder *d, ps_reader *r, wire_entry *e) {
    if (!d->sum_len || !(S_ISREG(e->mode) || d->ctx->o.protocol < 28)) return true;
    return (e->sum = rd_bytes(r, d->sum_len)) != NULL;
}

/* Reads one entry without changing anything but *e: PS_OK, PS_AGAIN, PS_FAIL. */
static int read_entry(ps_flist_decoder *d, ps_reader *r, wire_entry *e) {
    const ps_opts *o = &d->ctx->o;
    int status = read_name(d, r, e);
    if (status != PS_OK) return status;
    e->first = -1;
    if (o->protocol >= 30 && (e->flags & (XMIT_HLINKED | XMIT_HLINK_FIRST)) == XMIT_HLINKED && (status = read_link_group(d, r, e)) != PS_OK) return status;
    if (!e->abbreviated) {
        read_size_and_time(o->protocol, r, e);
        if (e->flags & XMIT_MOD_NSEC) {
            i32 ns = rd_varint(r);
            if (rd_ok(r) && (ns < 0 || ns > PS_WIRE_NSEC_MAX))
                return ps_fail(d->ctx, 2, 0, "wire value modtime_nsec out of range: %d not in [0,%d] [%s]", ns, PS_WIRE_NSEC_MAX, who(d));
            e->mtime_ns = (u32)ns;
        }
        if (PS_UNLIKELY(!rd_ok(r))) return short_or_bad(d, r);
        if (!(e->flags & XMIT_SAME_MODE) && (status = read_mode(d, r, e)) != PS_OK) return status;
        if (o->atimes && !S_ISDIR(e->mode) && !(e->flags & XMIT_SAME_ATIME)) (void)rd_varlong(r, 4);
        read_owner(o, r, e);
        if ((o->devices && mode_is_device(e->mode)) || (o->specials && mode_is_special(e->mode) && o->protocol < 31)) {
            read_device(o->protocol, r, e);
            e->size = 0;
        } else if (mode_is_device(e->mode)) {
            e->size = 0;
        } else if (o->protocol < 28) {
            e->rdev_major = e->rdev_minor = 0;
        }
        if (PS_UNLIKELY(!rd_ok(r))) return short_or_bad(d, r);
        if (o->links && S_ISLNK(e->mode) && (status = read_link(d, r, e)) != PS_OK) return status;
        if (o->protocol < 28 && o->hard_links && S_ISREG(e->mode)) e->flags |= XMIT_HLINKED;
        if (o->protocol < 30 && o->hard_links && e->flags & XMIT_HLINKED) read_identity(o->protocol, r, e);
        if (!read_sum(d, r, e) || !rd_ok(r)) return PS_AGAIN;
        if (PS_UNLIKELY(e->size < 0)) return ps_fail(d->ctx, 4, 0, "Offset underflow: file-length is negative");
    }
    return PS_OK;
}

/* ---- names ------------------------------------------------------------------------------------- */

static int unsafe_name(ps_flist_decoder *d, const char *name) {
    return ps_fail(d->ctx, 4, 0, "ABORTING due to unsafe pathname from sender: %s", name);
}

static int check_name(ps_flist_decoder *d, const char *path, size_t len, bool is_dir) {
    if ((len == 1 && *path == '.') || (len == 2 && memcmp(path, "/.", 2) == 0))
        return is_dir ? PS_OK : ps_fail(d->ctx, 2, 0, "ERROR: rejecting non-directory transfer-root entry: %s", path);
    if (d->check_rules && rules_check(d->rules, path, len, is_dir, PS_SIDE_SENDER) < 0)
        return ps_fail(d->ctx, 4, 0, "ERROR: rejecting excluded file-list name: %s", path);
    if (d->check_implied && !implied_allows(d->implied, path, len, is_dir))
        return ps_fail(d->ctx, 4, 0, "ERROR: rejecting unrequested file-list name: %s", path);
    return PS_OK;
}

/* Under inc_recurse all entries of a list lie in its directory. */
static int check_dir(ps_flist_decoder *d, u32 dir, const char *base) {
    const ps_dirname *have = &d->all->dirs[dir], *want = &d->all->dirs[d->expected_dir];
    const char *path = arena_at(&d->all->dir_arena, have->path);
    size_t n = have->path_len;
    if (d->ctx->o.relative && n && *path == '/') path++, n--;
    if (n != want->path_len || memcmp(path, arena_at(&d->all->dir_arena, want->path), n) != 0)
        return ps_fail(d->ctx, 4, 0, "ABORTING due to invalid path from sender: %s/%s", path, base);
    d->good_dir = dir;
    return PS_OK;
}

/* The general way: cleans a copy of the name and finds its directory. */
static int place_name(ps_flist_decoder *d, char *path, size_t *len, u32 *dir, u32 *base_at) {
    size_t n = d->last_len;
    memcpy(path, d->last, n + 1);
    d->prefix_known = false;
    if (!n || memchr(path, 0, n)) return unsafe_name(d, path);
    long cleaned = name_clean(path, n, PS_CLEAN_REFUSE_DOTDOT);
    if (cleaned < 0 || (*path == '/' && !d->ctx->o.relative)) return unsafe_name(d, path);
    const char *slash = memrchr(path, '/', (size_t)cleaned);
    u32 at = slash ? (u32)(slash + 1 - path) : 0;
    if (strcmp(path + at, ".") == 0 && at > 1) return unsafe_name(d, path);
    if (!path[at]) return unsafe_name(d, path);
    *dir = flists_dir(d->all, path, at > 1 ? at - 1 : at, 0);
    if (*dir == UINT32_MAX) return ps_fail_memory(d->ctx, "the file list");
    *base_at = at;
    *len = (size_t)cleaned;
    if ((size_t)cleaned == n && memcmp(path, d->last, n) == 0) {
        d->prefix_known = true;
        d->base_dir = *dir;
        d->base_at = at;
    }
    return PS_OK;
}

/* ---- adding an entry --------------------------------------------------------------------------- */

/* Before protocol 30 only arguments' directories are marked: what lies below them has contents too. */
static u16 old_dir_flags(ps_flist_decoder *d, const wire_entry *e, const char *path, size_t len) {
    if (e->flags & XMIT_TOP_DIR) {
        if (d->check_implied && implied_parent_only(d->implied, path, len)) return PS_F_IMPLIED_DIR;
        u32 n = len == 1 && *path == '.' ? 0 : d->last_len;
        if (d->ctx->o.relative && n > 2 && memcmp(d->last + n - 2, "/.", 2) == 0) n -= 2;
        d->in_argument = d->ctx->o.recurse;
        d->argument_len = n;
        return PS_F_TOP_DIR | PS_F_CONTENT_DIR;
    }
    if (!d->in_argument) return 0;
    bool below = !d->ctx->o.relative || !d->argument_len || (e->prefix >= d->argument_len && d->last[d->argument_len] == '/');
    d->in_argument = below;
    return below ? PS_F_CONTENT_DIR : 0;
}

static u16 dir_flags(ps_flist_decoder *d, const wire_entry *e, const char *path, size_t len) {
    u32 flags = e->flags;
    if (d->ctx->o.protocol < 30) return old_dir_flags(d, e, path, len);
    /* A directory that is there only as a parent must not be swept by --delete, whatever the remote says of it. */
    if (d->check_implied && implied_parent_only(d->implied, path, len)) flags |= XMIT_NO_CONTENT_DIR | XMIT_TOP_DIR;
    if (!(flags & XMIT_NO_CONTENT_DIR)) return flags & XMIT_TOP_DIR ? PS_F_TOP_DIR | PS_F_CONTENT_DIR : PS_F_CONTENT_DIR;
    return flags & XMIT_TOP_DIR ? PS_F_IMPLIED_DIR : 0;
}

static void map_owner(ps_flist_decoder *d, wire_entry *e, u16 *gid_flags) {
    const ps_opts *o = &d->ctx->o;
    ps_ids *ids = ids_of(d->ctx);
    if (e->abbreviated) {
        const ps_flist *l = d->list;
        if (o->group) *gid_flags = l->files[e->first - l->ndx_start].flags & PS_F_SKIP_GROUP;
        return;
    }
    if (o->owner && !(e->flags & XMIT_SAME_UID)) {
        if (e->user)
            e->uid = ids_recv_user(ids, e->uid, e->user, e->user_len);
        else if (o->inc_recurse && o->am_root && !o->numeric_ids)
            e->uid = ids_match_user(ids, e->uid);
    }
    if (o->group && !(e->flags & XMIT_SAME_GID)) {
        *gid_flags = 0;
        if (e->group)
            e->gid = ids_recv_group(ids, e->gid, e->group, e->group_len, gid_flags);
        else if (o->inc_recurse && (!o->am_root || !o->numeric_ids))
            e->gid = ids_match_group(ids, e->gid, gid_flags);
    }
}

/* Directories above an entry, within the transfer. */
static int depth_of(const ps_flist_decoder *d, const ps_file *f) {
    const char *path = dir_path(d->all, f->dir);
    int depth = *path ? 1 : 0;
    for (; *path; path++) depth += *path == '/' && path[1];
    return depth;
}

static bool add_link_target(ps_flist_decoder *d, const ps_file *f, ps_file_extra *x, const wire_entry *e) {
    ps_flist *l = d->list;
    char text[PS_LIMIT_LINK_TARGET + sizeof PS_MUNGE_PREFIX];
    size_t n = 0;
    if (e->abbreviated) {
        const char *target = file_link(l, &l->files[e->first - l->ndx_start]);
        n = target ? strlen(target) : 0;
        if (n) memcpy(text, target, n);
    } else if (d->ctx->o.links) {
        size_t part = strnlen((const char *)e->link, e->link_len);
        if (d->ctx->o.munge_links) {
            n = strlen(PS_MUNGE_PREFIX);
            memcpy(text, PS_MUNGE_PREFIX, n);
        }
        if (part) memcpy(text + n, e->link, part);
        n += part;
        if (d->ctx->tames_links && n) n = name_sanitize(text, n, depth_of(d, f), false, text);
    }
    x->link = arena_put(&l->names, text, n);
    x->link_len = (u32)n;
    return x->link != PS_NO_OFFSET;
}

static bool add_extra(ps_flist_decoder *d, ps_file *f, const wire_entry *e) {
    const ps_opts *o = &d->ctx->o;
    bool hlinked = o->hard_links && e->flags & XMIT_HLINKED && !S_ISDIR(f->mode);
    if (!hlinked && !S_ISLNK(f->mode) && !mode_is_device(f->mode)) return true;
    ps_file_extra *x = flist_push_extra(d->list, f);
    if (!x) return false;
    if (hlinked) {
        f->flags |= PS_F_HLINKED;
        if (o->protocol < 30)
            x->hlink = inodes_number(&d->inodes, e->dev, e->ino, (i32)d->inodes.count);
        else
            x->hlink = e->flags & XMIT_HLINK_FIRST ? d->list->ndx_start + (i32)d->list->count - 1 : e->first;
        if (x->hlink < 0) return false;
    }
    if (o->devices && mode_is_device(f->mode)) {
        x->rdev_major = e->rdev_major;
        x->rdev_minor = e->rdev_minor;
    }
    return !S_ISLNK(f->mode) || add_link_target(d, f, x, e);
}

static bool add_sum(ps_flist_decoder *d, const ps_file *f, const wire_entry *e) {
    ps_flist *l = d->list;
    if (d->sum_cap < l->cap) {
        u8 *grown = realloc(l->sums, (size_t)l->cap * d->sum_len);
        if (!grown) return false;
        l->sums = grown;
        d->sum_cap = l->cap;
    }
    u8 *at = l->sums + (size_t)(l->count - 1) * d->sum_len;
    if (S_ISREG(f->mode) && e->abbreviated)
        memcpy(at, l->sums + (size_t)(e->first - l->ndx_start) * d->sum_len, d->sum_len);
    else if (S_ISREG(f->mode))
        memcpy(at, e->sum, d->sum_len);
    else
        memset(at, 0, d->sum_len);
    return true;
}

static void count_entry(ps_stats *s, const ps_file *f) {
    if (S_ISREG(f->mode) || S_ISLNK(f->mode)) s->total_size += f->size;
    if (S_ISREG(f->mode)) return;
    if (S_ISDIR(f->mode))
        s->num_dirs++;
    else if (S_ISLNK(f->mode))
        s->num_symlinks++;
    else if (mode_is_device(f->mode))
        s->num_devices++;
    else
        s->num_specials++;
}

static int add_entry(ps_flist_decoder *d, wire_entry *e) {
    ps_ctx *c = d->ctx;
    char cleaned[PS_LIMIT_NAME + 2];
    const char *path = d->last;
    u32 len = e->prefix + e->name_len, base_at = d->base_at, dir = d->base_dir;
    memcpy(d->last + e->prefix, e->name, e->name_len);
    d->last[len] = 0;
    d->last_len = len;
    size_t path_len = len;
    bool plain = d->prefix_known && e->prefix >= base_at && len > base_at && d->last[base_at] != '.' &&
                 !memchr(e->name, '/', e->name_len) && !memchr(e->name, 0, e->name_len);
    if (!plain) {
        if (place_name(d, cleaned, &path_len, &dir, &base_at) != PS_OK) return PS_FAIL;
        path = cleaned;
    }
    u32 mode = c->chmod_count && !S_ISLNK(e->mode) && !e->abbreviated ? chmod_tweak(c, e->mode) : e->mode;
    bool is_dir = S_ISDIR(mode);
    if ((d->check_rules || d->check_implied || path[base_at] == '.') && check_name(d, path, path_len, is_dir) != PS_OK) return PS_FAIL;
    if (c->o.inc_recurse && dir != d->good_dir && check_dir(d, dir, path + base_at) != PS_OK) return PS_FAIL;
    u16 gid_flags = d->same.gid_flags;
    map_owner(d, e, &gid_flags);
    if (c->error.exit_code) return PS_FAIL;
    d->same = (same_as){e->mtime, mode, e->uid, e->gid, e->rdev_major, e->rdev_minor, gid_flags, e->dev};
    if (d->all->total_count + d->list->count >= d->most)
        return ps_fail(c, 12, 0, "more than %llu entries in the file list", (unsigned long long)d->most);
    ps_file *f = flist_push(d->list);
    if (!f) return ps_fail_memory(c, "the file list");
    f->size = e->size;
    f->mtime = e->mtime;
    f->mtime_ns = e->mtime_ns;
    f->mode = mode;
    if (c->o.owner) f->uid = e->uid;
    if (c->o.group) {
        f->gid = e->gid;
        f->flags = gid_flags;
    }
    f->dir = dir;
    f->name_len = (u16)(path_len - base_at);
    f->name = arena_put(&d->list->names, path + base_at, f->name_len);
    if (is_dir) f->flags |= dir_flags(d, e, path, path_len);
    if (f->name == PS_NO_OFFSET || !add_extra(d, f, e) || (d->sum_len && !add_sum(d, f, e)))
        return ps_fail_memory(c, "the file list");
    count_entry(&c->stats, f);
    if (PS_UNLIKELY(d->list->count % 100 == 0) && c->o.info_flist >= 2 && shows_progress(c))
        ps_log(c, PS_LOG_CLIENT, " %u files...\r", d->list->count);
    return PS_OK;
}

/* ---- the end of a list ------------------------------------------------------------------------- */

static void add_io_error(ps_ctx *c, i32 bits) {
    if (!c->o.ignore_errors) c->io_error |= bits & PS_IOERR_VALID;
}

static list_part part_after_ids(const ps_opts *o) { return o->protocol < 30 ? AT_IO_ERROR : AT_END; }

static list_part part_after_entries(const ps_opts *o) {
    if (o->inc_recurse || o->numeric_ids > 0) return part_after_ids(o);
    if (o->owner) return AT_USERS;
    return o->group ? AT_GROUPS : part_after_ids(o);
}

static int read_io_error(ps_flist_decoder *d, ps_reader *r) {
    i32 bits = rd_i32(r);
    if (!rd_ok(r)) return PS_AGAIN;
    add_io_error(d->ctx, bits);
    d->part = AT_END;
    return PS_OK;
}

/* One record of the id lists: PS_OK, PS_AGAIN, PS_FAIL. */
static int read_id(ps_flist_decoder *d, ps_reader *r) {
    const ps_opts *o = &d->ctx->o;
    bool users = d->part == AT_USERS || d->part == AT_USER0, named = d->part == AT_USER0 || d->part == AT_GROUP0;
    u32 id = named ? 0 : (u32)rd_varint30(r, o->protocol);
    if (id || named) {
        u8 n = rd_u8(r);
        const u8 *name = rd_bytes(r, n);
        if (!rd_ok(r)) return short_or_bad(d, r);
        u16 ignored = 0;
        if (users)
            ids_recv_user(ids_of(d->ctx), id, name, n);
        else
            ids_recv_group(ids_of(d->ctx), id, name, n, &ignored);
        if (d->ctx->error.exit_code) return PS_FAIL;
        if (!named) return PS_OK;
    }
    if (!rd_ok(r)) return short_or_bad(d, r);
    if (o->id0_names && !named)
        d->part++;
    else
        d->part = users && o->group ? AT_GROUPS : part_after_ids(o);
    return PS_OK;
}

static int finish(ps_flist_decoder *d) {
    ps_ctx *c = d->ctx;
    ps_flist *l = d->list;
    if (shows_progress(c)) {
        if (c->o.info_flist >= 2)
            ps_log(c, PS_LOG_INFO, "%u file%sto consider\n", l->count, l->count == 1 ? " " : "s ");
        else
            ps_log(c, PS_LOG_INFO, "done\n");
    }
    if (!c->o.inc_recurse) {
        ids_map_list(ids_of(c), l);
        d->all->eof = true;
    }
    d->list = NULL;
    flists_append(d->all, l);
    if (flist_sort_and_clean(d->all, l, c->o.relative) != PS_OK) return PS_FAIL;
    c->stats.num_files += (i32)l->count;
    if (c->o.hard_links && flist_match_links(d->all, l) != PS_OK) return PS_FAIL;
    return PS_DONE;
}

/* ---- the loop ---------------------------------------------------------------------------------- */

/* The entry's flags, or the end of the list. PS_OK: an entry follows; PS_DONE: the end mark was read. */
static int read_flags(ps_flist_decoder *d, ps_reader *r, u32 *flags) {
    ps_ctx *c = d->ctx;
    if (c->o.varint_flist_flags) {
        *flags = (u32)rd_varint(r);
        if (!rd_ok(r)) return short_or_bad(d, r);
        if (*flags) return PS_OK;
        i32 bits = rd_varint(r);
        if (!rd_ok(r)) return short_or_bad(d, r);
        add_io_error(c, bits);
        return PS_DONE;
    }
    *flags = rd_u8(r);
    if (c->o.protocol >= 28 && *flags & XMIT_EXTENDED_FLAGS) *flags |= (u32)rd_u8(r) << 8;
    if (!rd_ok(r)) return PS_AGAIN;
    if (!*flags) return PS_DONE;
    if (*flags != (XMIT_EXTENDED_FLAGS | XMIT_IO_ERROR_ENDLIST)) return PS_OK;
    if (!c->o.safe_flist) return ps_fail(c, 2, 0, "Invalid flist flag: %x", *flags);
    i32 bits = rd_varint(r);
    if (!rd_ok(r)) return short_or_bad(d, r);
    add_io_error(c, bits);
    return PS_DONE;
}

/* Decodes all complete records of the reader's input; r->p ends at the first incomplete one. */
static int decode_run(ps_flist_decoder *d, ps_reader *r) {
    while (d->part != AT_END) {
        const u8 *mark = r->p;
        int status;
        if (d->part == AT_ENTRIES) {
            wire_entry e = {.mtime = d->same.mtime, .mode = d->same.mode, .uid = d->same.uid, .gid = d->same.gid,
                            .rdev_major = d->same.rdev_major, .rdev_minor = d->same.rdev_minor, .dev = d->same.dev};
            status = read_flags(d, r, &e.flags);
            if (status == PS_DONE) {
                d->part = part_after_entries(&d->ctx->o);
                continue;
            }
            if (status == PS_OK) status = read_entry(d, r, &e);
            if (status == PS_OK) status = add_entry(d, &e);
        } else {
            status = d->part == AT_IO_ERROR ? read_io_error(d, r) : read_id(d, r);
        }
        if (status == PS_OK) continue;
        if (status == PS_AGAIN) r->p = mark;
        return status;
    }
    return finish(d);
}

#define FILL 1024 /* bytes gathered at a time while a record is split over frames or feeds */

int flist_decode(ps_flist_decoder *d, ps_mux_in *m, ps_message_fn fn, void *owner) {
    if (d->part == AT_END) return ps_fail(d->ctx, 12, 0, "no file list was announced");
    for (;;) {
        if (d->ctx->cancelled) return ps_fail(d->ctx, 20, 0, "cancelled");
        const u8 *data;
        size_t len;
        int status = mux_span(d->ctx, m, &data, &len, fn, owner);
        if (status != PS_OK) return status;
        ps_reader r = rd_make(data, len);
        bool staged = buf_used(&m->stage) > 0;
        status = decode_run(d, &r);
        size_t used = (size_t)(r.p - data), rest = len - used;
        d->ctx->stats.flist_size += (i64)used;
        mux_span_used(m, used);
        if (status != PS_AGAIN) return status;
        if (!rest) continue;
        status = mux_fill(d->ctx, m, staged ? FILL : rest + FILL, fn, owner);
        if (status != PS_OK) return status;
    }
}
