/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_FLIST_API_H
#define PS_FLIST_API_H
/* flags of an entry */
#define PS_F_TOP_DIR 0x0001      /* an argument's own directory: XMIT_TOP_DIR */
#define PS_F_CONTENT_DIR 0x0002  /* a directory whose contents are sent */
#define PS_F_MOUNT_DIR 0x0004
#define PS_F_IMPLIED_DIR 0x0008
#define PS_F_DUPLICATE 0x0010    /* sender: sent, but a double of another entry */
#define PS_F_REDO 0x0010         /* receiver: failed verification once, is asked for again */
#define PS_F_SWARM 0x0004        /* receiver, regular files: comes from the swarm and is not settled */
#define PS_F_REDO 0x0010         /* receiver: failed verification once, is asked for again */
#define PS_F_DELETED 0x0020      /* cleaned away as a double: inactive, keeps its ndx */
#define PS_F_HLINKED 0x0040
#define PS_F_HLINK_FIRST 0x0080
#define PS_F_HLINK_LAST 0x0100
#define PS_F_HLINK_DONE 0x0200
#define PS_F_SKIP_HLINK 0x0400
#define PS_F_DIR_CREATED 0x0800  /* receiver */
#define PS_F_BATCHED 0x0800      /* receiver, regular files: its data has come in the batch; with REDO: it is to come again */
#define PS_F_MISSING_DIR 0x1000  /* receiver: below it nothing is made */
#define PS_F_HLINK_WAITS 0x1000  /* receiver, not a directory: waits for its group's leader; its list counts it in in_progress */
#define PS_F_SKIP_GROUP 0x2000
#define PS_F_TIME_FAILED 0x4000
#define PS_F_FILE_SENT 0x8000

typedef struct ps_flists ps_flists;
typedef struct ps_flist ps_flist;
typedef struct ps_root ps_root;
typedef struct ps_rules ps_rules;

/* All lists of a transfer; the options must be set before. Freed after everything that uses it. */
ps_flists *ps_flists_new(ps_ctx *c);
void ps_flists_free(ps_flists *all);

/* The directory beneath which names are resolved. create: made when missing (with its parents under --mkpath).
 * NULL: ps_ctx_error says why. */
ps_root *ps_root_open(ps_ctx *c, const char *path, bool create);
ps_root *ps_root_from_fd(ps_ctx *c, int fd); /* takes the descriptor over */
void ps_root_is_whole(ps_root *r);           /* a chroot's: absolute symlinks are followed within it */
void ps_root_free(ps_root *r);
int ps_root_fd(const ps_root *r);

/* The receiving side's decoder. A source argument as sent to a daemon (skip_module: its first component is the module),
 * or a name of --files-from: names that were not asked for are then refused. Not called where the sender is trusted. */
typedef struct ps_flist_decoder ps_flist_decoder;
ps_flist_decoder *ps_flist_decoder_new(ps_ctx *c, ps_flists *all, ps_rules *rules /* or NULL */);
void ps_flist_decoder_free(ps_flist_decoder *d);
int ps_flist_decoder_imply(ps_flist_decoder *d, const char *arg, size_t len, bool skip_module);
int ps_flist_decoder_begin(ps_flist_decoder *d, int32_t parent); /* index in the directory list; -1: the first list */

/* A decoder fed by hand, for tests and tools: raw multiplexed bytes, or plain list bytes. The input's messages are dropped.
 * PS_DONE: the list begun last is complete; *used of the bytes were taken. PS_AGAIN: all were, and more are needed. */
typedef struct ps_flist_feeder ps_flist_feeder;
ps_flist_feeder *ps_flist_feeder_new(ps_ctx *c, ps_flist_decoder *d, bool plain);
void ps_flist_feeder_free(ps_flist_feeder *f);
int ps_flist_feed(ps_flist_feeder *f, const uint8_t *data, size_t len, size_t *used);

/* One entry of a live list, for control code that looks at single files. */
typedef struct ps_flist_row {
    int64_t size, mtime;       /* bytes; seconds */
    uint32_t mtime_ns, mode;   /* mode 0: cleared away */
    uint32_t uid, gid, flags;
    int32_t link_group, link_previous; /* hard links: -1 none */
    uint32_t rdev_major, rdev_minor;
    uint32_t path_len, target_len, sum_len;
    char path[4096], target[4112];
    uint8_t sum[64];
} ps_flist_row;
bool ps_flists_row(const ps_flists *all, int32_t ndx, ps_flist_row *row); /* false: no live list has this ndx */
uint32_t ps_flists_count(const ps_flists *all);                          /* live lists */
bool ps_flists_range(const ps_flists *all, uint32_t list, int32_t *ndx_start, uint32_t *count, uint32_t *low, uint32_t *high,
                     int32_t *parent);
bool ps_flists_eof(const ps_flists *all);
void ps_flists_drop_first(ps_flists *all);
/* --list-only: the lines of all entries of the live list that begins with ndx_start, to the log stream. */
int ps_flists_render_listing(ps_ctx *c, const ps_flists *all, int32_t ndx_start);

/* The sending side's lister: arguments, or with --files-from the one directory and then its names (an empty name only says
 * that names would have come). rules may be NULL. The pump of the sender drives it. */
typedef struct ps_lister ps_lister;
ps_lister *ps_lister_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *root);
void ps_lister_free(ps_lister *l);
int ps_lister_arg(ps_lister *l, const char *path, size_t len);
/* Arguments are those of a user, who may name any place: the root is "/" and whole, and relative ones begin at `start`. */
int ps_lister_from_anywhere(ps_lister *l, const char *start, size_t len);
int ps_lister_files_from(ps_lister *l, const char *name, size_t len);

/* A lister driven by hand, for tests and tools: `more` negative encodes the first list, else sub-lists until `more` entries lie
 * ahead. Plain bytes (not multiplexed) are appended to *out, valid until the next call. */
typedef struct ps_lister_tap ps_lister_tap;
ps_lister_tap *ps_lister_tap_new(ps_ctx *c, ps_lister *l);
void ps_lister_tap_free(ps_lister_tap *t);
int ps_lister_tap_run(ps_lister_tap *t, int32_t more, const uint8_t **out, size_t *len);

/* Loads what the lookup of users and groups needs; to be called before a process gives up its privileges. */
void ps_ids_prewarm(void);
#endif
