/* The file list: entries of one transfer, in sub-lists, as both roles hold them. */
#ifndef PS_FLIST_H
#define PS_FLIST_H
#include "core/context.h"
#include "fs/attrs.h"
#include "wire/records.h"
#include "api/flist_api.h"

struct ps_rules;

/* One entry. Its path is dirname "/" basename; both live in the transfer's or the sub-list's arena. */
typedef struct ps_file {
    i64 size, mtime;     /* bytes; seconds */
    u32 mtime_ns;
    u32 mode;            /* st_mode; 0 in a cleared entry */
    u32 uid, gid;        /* receiver: already mapped to local ids */
    u32 name;            /* offset of the basename in the sub-list's arena */
    u16 name_len;
    u16 flags;
    u32 dir;             /* index into ps_flists.dirs of the directory that holds it */
    u32 extra;           /* index into ps_flist.extras, PS_NO_EXTRA when it has none */
} ps_file;
#define PS_NO_EXTRA UINT32_MAX
#define PS_PACKED_SHARED 64 /* bytes that a packed name can have in common with the one before */

/* What few entries have: symlink target, device number, hard-link group. */
typedef struct ps_file_extra {
    u32 link, link_len;  /* target in the sub-list's arena; PS_NO_OFFSET */
    u32 rdev_major, rdev_minor;
    i32 hlink;           /* group number as sent (receiver): names the group, see flists_link_group; -1 none */
    i32 hlink_prev;      /* receiver: ndx of the member before this one, -1: the first (hlink.c:F_HL_PREV) */
} ps_file_extra;

/* A directory name used by entries ("" for the top). Kept for the whole transfer: generators and deletion need it. */
typedef struct ps_dirname {
    u32 path, path_len;  /* in ps_flists.dir_arena, no slash at the end */
    u32 depth;           /* components */
    u32 root;            /* sender: the argument's root that it belongs to, index into ps_flists.roots */
} ps_dirname;

/* Sender: where the entries of an argument lie: a path beneath the ps_root, as messages show it (flist.c:F_PATHNAME). */
typedef struct ps_list_root {
    u32 path, len;         /* in ps_flists.root_paths, no slash at the end; "" is the ps_root itself */
    struct ps_root *inner; /* that directory, for merge files; NULL until it is needed */
    bool borrowed;         /* inner is another one's */
    bool slash;            /* -R with an absolute argument: its names are shown with the slash that is not sent */
} ps_list_root;

/* What a packed entry is told by: its differences from the one before. */
typedef struct packed_before {
    ps_file file;
    u32 name_len;
    char name[PS_PACKED_SHARED]; /* the beginning of its name */
} packed_before;

typedef struct ps_flist ps_flist;
struct ps_flist {
    ps_file *files;      /* in ndx order = sorted order; ndx = ndx_start + index */
    u32 count, cap;
    /* Sender without inc_recurse, until flist_ready: the first packed_count entries, in the order in which they were sent;
     * `files` holds those behind them. */
    ps_buf packed;
    u32 packed_count;
    bool packed_marked;    /* what is packed next is at a mark (packed.h) */
    packed_before *packed_last; /* what was packed last; NULL until there is any */
    i32 ndx_start;       /* ndx of files[0]; the list's own directory is ndx_start - 1 where inc_recurse */
    i32 parent_ndx;      /* index in ps_flists.dir_entries of the directory that this list is the contents of; -1 */
    ps_arena names;
    ps_file_extra *extras;
    u32 extra_count, extra_cap;
    u8 *sums;            /* -c: count × sum_len bytes, zero for others than regular files */
    u32 sum_len;
    u64 through;         /* entries in all lists up to and with this one, once it is sorted */
    u32 low, high;       /* active range [low, high) after cleaning */
    i32 in_progress, to_redo; /* receiver: files asked for and not settled; to be asked for again */
    bool done_sent;      /* receiver, inc_recurse: the generator has written this list's NDX_DONE and is through with it. The
                          * receiver drops the list when the sender's NDX_DONE for it comes back: echoed items before that
                          * still refer to it. */
    bool answered;       /* receiver: the sender has echoed that NDX_DONE; its remaining files come from the swarm */
    i32 in_swarm;        /* receiver: how many they are; the list stays in memory until they are settled */
    ps_flist *next, *prev;
};

/* All sub-lists of a transfer and what they share. */
struct ps_flists {
    ps_ctx *ctx;
    ps_flist *first, *last;
    ps_flist *current;   /* sender: the list of the generator's last request (rsync's cur_flist); NULL: the first. Whoever drops
                          * the list sets it to the next one. */
    u32 list_count;      /* live lists */
    ps_flist **by_ndx;   /* the live lists in order, from by_ndx[by_ndx_head] on: every request looks its list up */
    u32 by_ndx_head, by_ndx_cap;
    u64 total_count;     /* entries ever added */
    i32 next_ndx_start;
    bool eof;            /* no more lists will come */
    ps_dirname *dirs;
    u32 dir_count, dir_cap;
    ps_arena dir_arena;
    /* inc_recurse: the directories in rsync's dir_flist order. Index here = the number on the wire after
     * NDX_FLIST_OFFSET. */
    struct ps_dir_entry *dir_entries;
    u32 dir_entry_count, dir_entry_cap;
    i32 first_send_dir;  /* inc_recurse: the first directory whose list is to be sent, -1 none */
    ps_list_root *roots; /* sender: of the arguments */
    u32 root_count, root_cap;
    ps_arena root_paths;
    struct ps_rules *rules; /* receiver, -m: what must not be pruned; may be NULL */
    u32 *dir_hash;       /* open addressing over dirs, UINT32_MAX free */
    u32 dir_hash_cap;
    u64 hash_seed;
    struct ps_link_group *link_groups;
    u32 link_group_count, link_group_cap;
};

/* A hard-link group (-H) of the receiver, alive over all sub-lists: hlink.c's prior_hlinks. */
typedef struct ps_link_group {
    i32 group;           /* -1: free slot of the table */
    i32 last_ndx;        /* the group's last entry so far; with name set: settled */
    u32 name, name_len;  /* path of a finished member, in dir_arena, once the generator knows it; PS_NO_OFFSET */
} ps_link_group;
/* The group's record, NULL when unknown (add: when out of memory). Valid until the next call with add. */
ps_link_group *flists_link_group(ps_flists *all, i32 group, bool add);

/* rsync's dir_flist: one per directory of the transfer, alive until the end. */
typedef struct ps_dir_entry {
    ps_file file;        /* a copy; its name lies in ps_flists.dir_arena; flags are those after cleaning */
    u32 self;            /* index into ps_flists.dirs of its own path */
    i32 parent, first_child, next_sibling; /* the tree in which lists are sent, -1 none */
    i32 list_ndx;        /* ndx of the directory's entry in its own list */
    bool got_list, sent_list;
} ps_dir_entry;

ps_flists *flists_new(ps_ctx *c);
void flists_free(ps_flists *all);
ps_flist *flists_add(ps_flists *all, u32 reserve);
ps_flist *flist_make(ps_flists *all, u32 reserve); /* with the ndx_start it will have, not yet seen by anybody */
void flists_append(ps_flists *all, ps_flist *l);         /* takes it over */
void flist_free(ps_flist *l);                            /* one that was not appended */
void flists_drop_first(ps_flists *all);
/* Entries in the lists behind the current one. */
static inline i32 flists_ahead(const ps_flists *all) {
    const ps_flist *l = all->current ? all->current : all->first;
    return l ? (i32)(all->last->through - l->through) : 0;
}
/* rsync.c:read_ndx_and_attrs: protocol 29 has no message for it, so it is a new entry behind the last one. */
static inline bool is_old_keep_alive(const ps_opts *o, const ps_flists *all, i32 ndx, u32 iflags) {
    return o->protocol == 29 && iflags == PS_ITEM_IS_NEW && all->last && ndx == (i32)all->last->count;
}
ps_flist *flists_for_ndx(const ps_flists *all, i32 ndx); /* NULL: no live list has it */
ps_file *flists_file(const ps_flists *all, i32 ndx, ps_flist **list); /* NULL when out of range */
u32 flists_dir(ps_flists *all, const char *path, size_t len, u32 root); /* find or add; UINT32_MAX: memory */
u32 flists_add_root(ps_flists *all, const char *path, size_t len);      /* index; UINT32_MAX: memory */
static inline const char *root_path(const ps_flists *all, const ps_list_root *r) { return arena_at(&all->root_paths, r->path); }
static inline const char *file_root_path(const ps_flists *all, const ps_file *f) {
    u32 root = all->dirs[f->dir].root;
    return root < all->root_count ? root_path(all, &all->roots[root]) : "";
}
static inline const char *dir_path(const ps_flists *all, u32 dir) { return arena_at(&all->dir_arena, all->dirs[dir].path); }
static inline const char *file_name(const ps_flist *l, const ps_file *f) { return arena_at(&l->names, f->name); }
/* Path of an entry within the transfer, NUL-terminated; returns its length; out has PS_LIMIT_NAME + 1 bytes. */
size_t file_path(const ps_flists *all, const ps_flist *l, const ps_file *f, char *out);
/* As output shows it, in PS_LIMIT_NAME + 2 bytes. */
size_t file_shown_path(const ps_flists *all, const ps_flist *l, const ps_file *f, char *out);
/* Sender: the same beneath the ps_root. 0: too long, or the root itself. */
#define PS_SOURCE_PATH (PS_LIMIT_NAME * 2 + 2)
size_t file_source_path(const ps_flists *all, const ps_flist *l, const ps_file *f, char out[PS_SOURCE_PATH]);
static inline bool file_active(const ps_file *f) { return f->mode != 0; }
static inline ps_file_extra *file_extra(const ps_flist *l, const ps_file *f) {
    return f->extra == PS_NO_EXTRA ? NULL : &l->extras[f->extra];
}
const char *file_link(const ps_flist *l, const ps_file *f); /* symlink target or NULL */
ps_file *flist_push(ps_flist *l); /* a zeroed entry (extra: none) at the end; NULL: memory */
ps_file_extra *flist_push_extra(ps_flist *l, ps_file *f);
static inline ps_attrs file_attrs(const ps_file *f) {
    return (ps_attrs){f->mtime, f->mtime_ns, f->mode, f->uid, f->gid, !(f->flags & PS_F_SKIP_GROUP), f->flags & PS_F_DIR_CREATED};
}
/* A component count as F_DEPTH: 1 for an entry at the top, 0 for ".". */
i32 file_depth(const ps_flists *all, const ps_flist *l, const ps_file *f);
static inline bool file_is_dot(const ps_flist *l, const ps_file *f) { return f->name_len == 1 && *file_name(l, f) == '.'; }

/* flist.c:f_name_cmp for protocol >= 29, and flist.c:flist_sort_and_clean. */
int file_compare(const ps_flists *all, const ps_flist *la, const ps_file *a, const ps_flist *lb, const ps_file *b);
/* Under inc_recurse also appends the list's directories to dir_entries, as children of l->parent_ndx (add_dirs_to_tree). */
int flist_sort_and_clean(ps_flists *all, ps_flist *l, bool strip_root);
/* Sender: unpacks and sorts a list that was left packed; to be called before any entry of it is looked at. */
int flist_ready(ps_flists *all, ps_flist *l);
/* Index of the active entry `dir`/`name` in a cleaned list, -1 none. want_dir: 1 directories, 0 others, -1 a directory's
 * first, then others (flist.c:flist_find_name). */
i32 flist_find(const ps_flists *all, const ps_flist *l, u32 dir, const char *name, size_t len, int want_dir);
/* hlink.c:match_hard_links: sets PS_F_HLINK_FIRST, PS_F_HLINK_LAST and hlink_prev once a list is complete. */
int flist_match_links(ps_flists *all, ps_flist *l);

/* --list-only: generator.c:list_file_entry for all entries of a list, to the log stream. */
int flist_render_listing(ps_ctx *c, const ps_flists *all, const ps_flist *l);

#endif
