/* What the generator's files share: its state, the entry in hand, and the steps that they call of each other. */
#ifndef PS_GENERATOR_INNER_H
#define PS_GENERATOR_INNER_H
#include "core/names.h"
#include "digest/hash.h"
#include "fs/option_paths.h"
#include "generator/generator.h"
#include "generator/sums_ahead.h"
#include "output/basis.h"
#include "render/render.h"

#define GEN_MODE_BITS (S_ISUID | S_ISGID | S_ISVTX | 0777u)
#define GEN_NO_CODE 0 /* rsync's FNONE: say nothing */

typedef enum { FT_REG, FT_SYMLINK, FT_DIR, FT_DEVICE, FT_SPECIAL, FT_OTHER } gen_type;
gen_type gen_file_type(u32 mode);

typedef enum { /* where gen_step goes on */
    GEN_START,
    GEN_DELETE_BEFORE,
    GEN_LIST_BEGIN,
    GEN_LIST_FILES,
    GEN_LIST_END,
    GEN_WAIT_PHASE,
    GEN_WAIT_REDO,
    GEN_WAIT_DELAYED,
    GEN_DELETE_LATE,
    GEN_WAIT_DELETED,
    GEN_SWARM,
    GEN_TOUCH_UP,
    GEN_DONE
} gen_state;

typedef struct ndx_queue { /* first in, first out */
    i32 *items;
    size_t head, count, cap;
} ndx_queue;

/* The names that one directory of the current list holds, and the files of the list in the order of their directories. */
typedef struct dir_kids {
    const ps_flist *list;
    u32 *order, *start; /* entries of directory d: order[start[d] .. start[d + 1]) */
    u32 dirs, cap_order, cap_start;
    u32 *table, table_cap;
} dir_kids;

struct ps_gen {
    ps_ctx *c;
    ps_flists *all;
    ps_rules *rules;   /* may be NULL */
    ps_root *root;     /* NULL: the destination does not exist (a dry run) */
    const char *solo;  /* --, the one file's name below the root: main.c's local_name */
    gen_state state;
    int phase;
    ps_flist *first, *cur; /* generator.c's first_flist and cur_flist; NULL after the last */
    u32 at;            /* index within cur */
    int phases_ended;  /* msgdone_cnt */
    bool redoing;
    bool pressed;      /* gen_press_on */
    bool failed;
    ps_mux_out *out;   /* of the running gen_step */
    ps_ndx_state *ndx_out;
    ps_buf request;
    ndx_queue redo, links, successes, classic, wanted;
    ps_gen_job *jobs;
    size_t job_count, job_cap;
    size_t undecided;  /* jobs that have no route yet */
    i64 swarm_open;    /* files in the swarm and not settled */
    bool routing;      /* an entry is looked at again, to be asked for by the classic way */
    bool swarm_first;  /* deletions and directory times follow the goodbye, after the swarm */
    i32 active_count;  /* --remove-source-files: asked for and not settled */
    i64 active_bytes;
    /* options as the generator sees them */
    int code;          /* of lines for created entries: PS_LOG_LOG or GEN_NO_CODE */
    int attrs_report;  /* maybe_ATTRS_REPORT */
    bool itemizing;     /* what changes is told: to the sender, and before protocol 29 here */
    bool whole_file, dir_tweaking, retouch_times, retouch_perms;
    u32 umask_perms, default_perms;
    uid_t our_uid;
    int delete_mode;   /* PS_DELETE_* */
    dev_t filesystem_dev, dir_dev; /* of the destination or the last top directory; of the last directory made or compared */
    /* the entry before */
    u32 last_dir;      /* its directory, UINT32_MAX none */
    ps_buf prior_dir;  /* path of the last directory entry */
    bool have_prior_dir;
    ps_buf fresh_dir;  /* path of the directory that was made last: nothing is in it yet */
    bool have_fresh_dir, in_fresh_dir;
    i32 skip_depth, dry_depth; /* contents below an entry of this depth are skipped, or missing in a dry run; -1 */
    const ps_file *skip_top, *dry_top; /* that entry */
    u32 dir_cursor;    /* where in dir_entries the last directory of a list was found */
    ps_flist dir_list; /* dir_entries as a list: only names is used */
    /* deletion */
    ps_buf delayed;    /* --delete-delay: u32 mode, u32 flags, u32 length, path */
    i32 skipped_deletes;
    const char *delete_aside; /* --backup-dir while the root stands for it: shown before the names that are deleted */
    ps_root *backup_root;     /* --backup-dir, once it is needed */
    bool delete_warned;
    dir_kids kids;
    dev_t *top_devs;
    u32 top_dev_count;
    u32 temp_counter;
    ps_block_hasher hasher;
    bool have_hasher;
    ps_sum *sum;
    u32 step_left;     /* entries that this step still takes */
    i64 hashed;        /* -c: bytes of files that it has read */
    const ps_sums_ahead *sums_ahead;
    ps_buf block_sums;
    u8 *scratch;       /* GEN_SCRATCH bytes */
};
#define GEN_SCRATCH (256u * 1024u)

/* An entry being looked at. Pointers hold until a list is added or dropped, so never across gen_step. */
typedef struct gen_item {
    ps_flist *l;
    ps_file *f;
    i32 ndx;
    int dirfd;         /* of its directory, -1: cannot be opened */
    const char *leaf;
    int depth;
    gen_type type;
    bool itemizing;
    bool unsent;       /* linked to a file of the swarm: its item is shown here, the sender does not hear of it */
    int code;
    bool has_path;
    char path[PS_LIMIT_NAME + 1]; /* filled by item_path */
} gen_item;

static inline bool item_hlinked(const gen_item *it) { return it->f->flags & PS_F_HLINKED; }
static inline bool gen_follows_links(const ps_gen *g, const gen_item *it) { return g->c->o.hard_links && item_hlinked(it); }
static inline bool hlink_not_last(const ps_file *f) { return (f->flags & (PS_F_HLINKED | PS_F_HLINK_LAST)) == PS_F_HLINKED; }
static inline bool hlink_not_first(const ps_file *f) { return (f->flags & (PS_F_HLINKED | PS_F_HLINK_FIRST)) == PS_F_HLINKED; }

/* generator.c */
bool gen_fail_memory(ps_gen *g);
void gen_errno(ps_gen *g, int err, const char *fmt, ...) PS_PRINTF(3, 4); /* rsyserr(FERROR_XFER), "rsync: [generator] " before it */
bool queue_push(ndx_queue *q, i32 ndx);
bool queue_pop(ndx_queue *q, i32 *ndx);
void gen_join_swarm(ps_gen *g, ps_flist *l, ps_file *f); /* its list may end, but stays in memory until gen_leave_swarm */
void gen_leave_swarm(ps_gen *g, ps_flist *l, ps_file *f);
ps_flist *gen_list_for(const ps_gen *g, i32 ndx); /* a list that the generator is not through with; NULL */
void gen_finish_lists(ps_gen *g, bool redo);      /* check_for_finished_files */
void gen_send_success(ps_gen *g, i32 ndx);        /* --remove-source-files */

/* entry.c */
void item_init(ps_gen *g, gen_item *it, ps_flist *l, ps_file *f, i32 ndx);
void item_refresh(ps_gen *g, gen_item *it); /* its descriptor, after work in many other directories */
const char *item_path(ps_gen *g, gen_item *it);
void gen_entry(ps_gen *g, ps_flist *l, ps_file *f, i32 ndx, bool own_list); /* recv_generator; own_list: a directory before its contents */
void gen_skipped_link(ps_gen *g, ps_flist *l, ps_file *f); /* handle_skipped_hlink */
bool gen_touch_up(ps_gen *g, ps_flist *l, ps_file *f); /* touch_up_dirs, one entry */
ps_flist *gen_dir_list(ps_gen *g);
int gen_lstat(ps_gen *g, const char *path, struct stat *st);
int gen_link(ps_gen *g, const char *from, const char *to, bool outside); /* outside: `from` is in an alternate destination */
int gen_stat_follow(ps_gen *g, const char *path, struct stat *st);

/* regular_file.c */
void gen_seen_after_owner(const ps_gen *g, const ps_file *f, struct stat *st);
void gen_regular(ps_gen *g, gen_item *it, int statret, int stat_errno, struct stat *st, gen_type have, u32 del_flags, u32 wire_mode);

/* symlinks_devices.c */
void gen_symlink(ps_gen *g, gen_item *it, int statret, struct stat *st);
void gen_device(ps_gen *g, gen_item *it, int statret, struct stat *st);
/* atomic_create. Exactly one of target (symlink) and from (hard link), or neither: a node. del_for 0: nothing is there. */
bool gen_create(ps_gen *g, gen_item *it, const char *target, const char *from, dev_t rdev, const struct stat *st, u32 del_for);
bool gen_temp_name(ps_gen *g, int dirfd, const char *leaf, char out[256]);

bool gen_leads_outside(const char *target, const char *path); /* util1.c:unsafe_symlink, as seen from the link's own path */

/* backup.c: --backup */
bool gen_backs_up(const ps_gen *g);                       /* not in the redo: what it replaces was kept before */
int gen_copy_backup(ps_gen *g, const char *path);         /* --inplace: a copy, before the file is changed */
bool gen_is_backup(const ps_gen *g, const char *path);    /* by its suffix */

/* alternate_dirs.c: --compare-dest, --copy-dest, --link-dest */
#define GEN_ALT_NONE (-1)
#define GEN_ALT_DONE (-2)
#define GEN_ALT_NO_LINK (-3)
int gen_try_reg(ps_gen *g, gen_item *it, char cmp[PS_LIMIT_NAME + 1], struct stat *st, bool exists);
int gen_try_non(ps_gen *g, gen_item *it, char cmp[PS_LIMIT_NAME + 1], struct stat *st);
/* The state of the entry in alternate destination j; false: it is not there. same_data may be NULL. */
bool gen_alt_look(ps_gen *g, gen_item *it, u32 j, struct stat *st, bool *same_data);
bool gen_copy_data(ps_gen *g, int from, int to, const char *shown_from, const char *shown_to); /* false: it was logged */

/* compare.c */
bool gen_mtime_differs(const ps_gen *g, const ps_file *f, const struct stat *st);
bool gen_same_data(ps_gen *g, gen_item *it, int dirfd, const char *name, const struct stat *st); /* quick_check_ok */
bool gen_same_attrs(const ps_gen *g, const ps_file *f, const struct stat *st);              /* unchanged_attrs */
u32 gen_item_flags(const ps_gen *g, const ps_file *f, int statret, const struct stat *st, u32 iflags, const char *xname);
/* itemize. ndx -1: it was written already. */
void gen_itemize(ps_gen *g, const gen_item *it, i32 ndx, int statret, const struct stat *st, u32 iflags, u8 basis, const char *xname);
void gen_put_ndx(ps_gen *g, i32 ndx);
void gen_put(ps_gen *g, const void *data, size_t n);

/* hard_links.c */
bool gen_link_check(ps_gen *g, gen_item *it, int statret, struct stat *st); /* hard_link_check: true: the entry needs no more */
/* check_prior: the entry before f in its group that was not left out, with its list; NULL: none is in memory, then *name is
 * the path of a finished one (or NULL). */
ps_file *gen_prior_link(ps_gen *g, const ps_flist *of, ps_file *f, ps_flist **list, const char **name);
void gen_finish_link(ps_gen *g, gen_item *it, const struct stat *st, int alt);
/* The leader's data come from the swarm: those who wait for it do not hold up their lists any more. */
void gen_links_join_swarm(ps_gen *g, const ps_flist *l, const ps_file *f);
void gen_finish_swarm_link(ps_gen *g, ps_flist *l, ps_file *f, i32 ndx);
void gen_lose_links(ps_gen *g, ps_flist *l, ps_file *f, i32 ndx); /* the leader will not come: neither will those who wait for it */
bool gen_link_one(ps_gen *g, ps_file *f, const char *path, const char *from, bool outside); /* outside: as gen_link, and terse */

/* delete.c */
#define DEL_NO_UID_WRITE 0x001u
#define DEL_RECURSE 0x002u
#define DEL_DIR_IS_EMPTY 0x004u
#define DEL_FOR_FILE 0x008u
#define DEL_FOR_DIR 0x010u
#define DEL_FOR_SYMLINK 0x020u
#define DEL_FOR_DEVICE 0x040u
#define DEL_FOR_SPECIAL 0x080u
#define DEL_MAKE_ROOM 0x0f8u
#define DEL_FOR_BACKUP 0x100u /* of what is in a backup's way no backup is made */
typedef enum { DR_SUCCESS, DR_FAILURE, DR_AT_LIMIT, DR_NOT_EMPTY } del_result;
del_result gen_delete_item(ps_gen *g, const char *path, u32 mode, u32 flags);
void gen_delete_in_dir(ps_gen *g, const char *path, const ps_file *f, int depth, u32 dir, dev_t dev);
void gen_delete_leave(ps_gen *g); /* delete_in_dir(NULL) */
void gen_change_filter_dir(ps_gen *g, const char *path, int depth);
bool gen_delete_pass(ps_gen *g);  /* do_delete_pass in steps: true when it is over; goes on from g->at */
void gen_delete_delayed(ps_gen *g);
void gen_kids_free(dir_kids *k);

#endif
