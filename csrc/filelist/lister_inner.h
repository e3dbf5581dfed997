/* The inside of the lister: its state, and the steps of its files. */
#ifndef PS_LISTER_INNER_H
#define PS_LISTER_INNER_H
#include "filelist/lister.h"
#include "digest/hash.h"
#include "fs/dir_names.h"
#include "filelist/ids.h"
#include "filelist/inodes.h"
#include "core/names.h"
#include "filelist/packed.h"
#include "filelist/xmit.h"

typedef enum { NAME_NORMAL, NAME_SLASH_ENDING, NAME_DOTDIR } name_type;
typedef enum { FILTER_NONE, FILTER_SERVER, FILTER_ALL } filter_level;

/* -R with incremental recursion: what remains of an argument once its first component has been sent. */
typedef struct rel_name {
    u32 text, len;   /* in ps_lister.text */
    name_type type;
    u32 next;        /* of the same directory, UINT32_MAX none */
} rel_name;

/* A directory on its way into the list: first its names are read and sent one by one, then, in a recursion without
 * sub-lists, its directories are gone through. */
typedef struct dir_frame {
    u32 dir;               /* index into ps_flists.dirs of its path */
    bool names;            /* they are being sent: ps_lister.names has it open */
    u16 flags;
    bool descend;          /* its directories are gone through: its entries are packed, from `child` to `end` in the list */
    packed_cursor child;
    size_t end;
    int token;             /* rules_leave; -1 none */
} dir_frame;

/* What was sent with the entry before and need not be sent again. */
typedef struct sent_before {
    i64 mtime;
    u32 mode, uid, gid, rdev_major;
    u32 rdev_minor;        /* protocol 27 alone */
    u64 dev;               /* protocols 28 and 29: of the last hard link */
    bool any_dev;
    u32 name_len;
    char name[PS_LIMIT_NAME + 1];
} sent_before;

/* One entry's data that are only needed to send it. */
typedef struct entry_extra {
    u64 dev, ino;
    bool hard_linked;
    u32 rdev_major, rdev_minor, link_len;
    u8 sum[PS_LIMIT_CHECKSUM];
    char link[PS_LIMIT_LINK_TARGET + 1];
} entry_extra;

/* A list is written in such pieces: larger ones make nothing faster, and every connection has room for one. */
#define LISTER_HIGH_WATER (64u * 1024u)

struct ps_lister {
    ps_ctx *ctx;
    ps_flists *all;
    ps_rules *rules; /* or NULL */
    ps_root *root;
    ps_mux_out *out; /* during a call */
    ps_arena text;
    struct { u32 text, len; } *args;
    u32 arg_count, arg_cap, next_arg;
    bool anywhere;         /* arguments are a user's: they may be absolute, and lead above where they begin */
    bool names_given;      /* --files-from: the first argument is only the directory of the names */
    u32 at_root;  /* index into ps_flists.roots */
    u32 last_root; /* that of the last argument that had a usable one */
    rel_name *rel;
    u32 rel_count, rel_cap;
    u32 (*rel_head)[2]; /* by directory (ps_flists.dirs): first and last of its names */
    u32 rel_head_cap;
    bool started, implied_dot_sent, rel_known;
    bool paused;           /* before the end of the first list, for messages to go out first */
    bool follow_links, any_filter, want_dirs; /* -L, the client's rules, -r or -d: otherwise while an implied directory is looked at */
    u32 rel_dir;           /* the directory of the last implied name */
    char implied_path[PS_LIMIT_NAME + 1];
    ps_flist *list;        /* being sent */
    dir_names *names;      /* of the last frame, until all are sent */
    u32 base_dir;          /* of the names being read from a directory: its index, and where they begin in their paths; else UINT32_MAX */
    size_t base_at;
    dir_frame *frames;
    u32 frame_count, frame_cap;
    u64 one_dev;           /* -x */
    i32 send_dir, depth;   /* incremental: the directory whose list is next or under way, and how deep the rules stand */
    i32 sub_first;         /* of the sub-list under way (list is set): the directory that it is announced by */
    i32 error_before;      /* ctx->io_error when it began */
    inode_table inodes;    /* -H, protocol 30 and later: the ndx of the first entry sent for each file */
    sent_before before;
    entry_extra x;
    ps_sum *sum;
    i64 hashed;            /* -c: bytes read since the list was last handed out */
    u64 began_ms;
    u8 record[2 * PS_LIMIT_NAME + 1024];
    char path[2 * PS_LIMIT_NAME + 4], real[2 * PS_LIMIT_NAME + 4];
};

/* encode.c */
bool lister_put_entry(ps_lister *l, const char *path, size_t len, ps_file *f);
bool lister_put_end(ps_lister *l, bool with_io_error);

/* scan.c */
/* make_file and send_file_name: one name of the transfer. dirfd/base: where it lies, dirfd -1: found by its path. given: the
 * state of a directory that is known already. PS_OK with *made NULL: left out. */
int lister_name(ps_lister *l, const char *path, size_t len, int dirfd, const char *base, const struct stat *given, u16 flags,
                filter_level level, ps_file **made);
/* send_directory; own_rules: its merge files count while it and what is below it is scanned. */
int lister_push_dir(ps_lister *l, const char *path, size_t len, u16 flags, bool descend, bool own_rules);
/* Goes on with the directories on the stack until it is empty (PS_OK), the output should be written (PS_FULL), PS_FAIL. */
int lister_run(ps_lister *l);
bool lister_pauses(ps_lister *l); /* what has been listed should be written before the list goes on */
int lister_stat(ps_lister *l, const char *path, size_t len, bool follow_dirs, struct stat *st); /* link_stat */
/* name_is_excluded; sets errno to ENOENT where the daemon's rules exclude. */
bool lister_excluded(ps_lister *l, const char *path, size_t len, bool is_dir, filter_level level);
void lister_stat_error(ps_lister *l, int err, const char *path, bool is_dir);
const char *lister_shown(ps_lister *l, const char *path, char out[PS_FULL_FNAME]);
const char *lister_real(ps_lister *l, const char *path, size_t len, size_t *real_len);
ps_root *lister_inner(ps_lister *l);

/* lister_args.c */
int lister_go_to_root(ps_lister *l, u32 index);
int lister_argument(ps_lister *l, const char *arg, size_t len);
int lister_rel_names(ps_lister *l, u32 dir, const char *path, size_t len); /* what -R put off until this directory's list */
int lister_files_base(ps_lister *l, const char *arg, size_t len);          /* --files-from: the directory of the names */
#endif
