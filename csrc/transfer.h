/* How the parts of a transfer meet: file-list decoder and lister, generator, receiver, sender, rendering.
 * Each section names its owner; its .c files may have headers of their own for what stays inside. */
#ifndef PS_TRANSFER_H
#define PS_TRANSFER_H
#include "filelist/flist.h"
#include "digest/hash.h"
#include "wire/mux.h"
#include "fs/root.h"
#include "filter/rules.h"
#include "delta/token.h"

/* ---- request and reply headers (rsync.h) ---- */
#define PS_NDX_DONE (-1)
#define PS_NDX_FLIST_EOF (-2)
#define PS_NDX_DEL_STATS (-3)
#define PS_NDX_FLIST_OFFSET (-101)

#define PS_ITEM_REPORT_ATIME 0x0001
#define PS_ITEM_REPORT_CHANGE 0x0002
#define PS_ITEM_REPORT_SIZE 0x0004
#define PS_ITEM_REPORT_TIMEFAIL 0x0004
#define PS_ITEM_REPORT_TIME 0x0008
#define PS_ITEM_REPORT_PERMS 0x0010
#define PS_ITEM_REPORT_OWNER 0x0020
#define PS_ITEM_REPORT_GROUP 0x0040
#define PS_ITEM_REPORT_ACL 0x0080
#define PS_ITEM_REPORT_XATTR 0x0100
#define PS_ITEM_REPORT_CRTIME 0x0400
#define PS_ITEM_BASIS_TYPE_FOLLOWS 0x0800
#define PS_ITEM_XNAME_FOLLOWS 0x1000
#define PS_ITEM_IS_NEW 0x2000
#define PS_ITEM_LOCAL_CHANGE 0x4000
#define PS_ITEM_TRANSFER 0x8000
#define PS_ITEM_MISSING_DATA 0x10000 /* local only, as the next two */
#define PS_ITEM_DELETED 0x20000
#define PS_ITEM_MATCHED 0x40000

#define PS_BASIS_DIR_LOW 0x00  /* index of an alternate destination */
#define PS_BASIS_DIR_HIGH 0x7f
#define PS_BASIS_FNAME 0x80
#define PS_BASIS_PARTIAL_DIR 0x81
#define PS_BASIS_BACKUP 0x82
#define PS_BASIS_FUZZY 0x83

/* ---- file list (owner: flist) --------------------------------------------------------------- */
typedef struct ps_flist_decoder ps_flist_decoder;
/* rules: the client's own filter list, against which received names are checked (flist.c:recv_file_entry, 3.x's
 * trust-sender checks), with the implied arguments that lister_implied_args recorded; NULL: no checks. */
ps_flist_decoder *flist_decoder_new(ps_ctx *c, ps_flists *all, ps_rules *rules);
void flist_decoder_free(ps_flist_decoder *d);
void flist_decoder_limit(ps_flist_decoder *d, u64 most); /* entries of all lists: fewer than PS_LIMIT_LIST_ENTRIES */
/* exclude.c:add_implied_include: a source argument as sent to the daemon (skip_module: "module/path"), or a name of
 * --files-from. Received names that none of them asked for are refused, once one is given. Not with --trust-sender. */
int flist_decoder_imply(ps_flist_decoder *d, const char *arg, size_t len, bool skip_module);
/* A new sub-list begins: parent = index in dir_entries (NDX_FLIST_OFFSET - ndx), -1 for the first list. */
int flist_decoder_begin(ps_flist_decoder *d, i32 parent);
/* Decodes from the mux until the sub-list has ended (PS_DONE: sorted, cleaned, appended to all; id lists and the
 * io_error word included as the protocol has them), input is used up (PS_AGAIN), or PS_FAIL. */
int flist_decode(ps_flist_decoder *d, ps_mux_in *m, ps_message_fn fn, void *owner);
const ps_flist *flist_decoder_list(const ps_flist_decoder *d); /* the one being received, as far as it has come, unsorted; NULL none */

/* --list-only: generator.c:list_file_entry for all entries of a list, to the log stream. */
int flist_render_listing(ps_ctx *c, const ps_flists *all, const ps_flist *l);

typedef struct ps_lister ps_lister; /* sender: arguments and directories into sub-lists on the wire */
ps_lister *lister_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *root);
void lister_free(ps_lister *l);
int lister_arg(ps_lister *l, const char *path, size_t len);       /* one source argument, as flist.c:send_file_list takes it */
int lister_files_from(ps_lister *l, const char *name, size_t len); /* one name of --files-from, below the single argument */
/* Encodes the first list (all of it without inc_recurse); call after the arguments. PS_OK when it is complete, PS_FULL
 * when out holds PS_SEND_HIGH_WATER bytes and it must be called again, PS_FAIL. */
int lister_first(ps_lister *l, ps_mux_out *out);
/* flist.c:send_extra_file_list: more sub-lists until the lists behind all->current hold `want` entries. PS_OK when they
 * do, PS_DONE after NDX_FLIST_EOF was written, PS_FULL, PS_FAIL. The ndx state is the session's writing direction. */
int lister_more(ps_lister *l, ps_mux_out *out, ps_ndx_state *ndx, i32 want);
/* Where the entries of dir root `root` (ps_dirname.root) lie: a path beneath the ps_root, without a slash at its end, as
 * messages show it (flist.c:F_PATHNAME); "" is the ps_root itself. */
const char *lister_prefix(const ps_lister *l, u32 root);

/* ids: uidlist.c (ids.h). Made by flists_new as ctx->ids. Maps wire ids to local ones, and encodes names for our ids. */
typedef struct ps_ids ps_ids;
ps_ids *ids_new(ps_ctx *c);
void ids_free(ps_ids *i);

/* ---- generator (owner: generator): list × tree --------------------------------------------- */
typedef struct ps_gen ps_gen;
typedef enum { PS_SETTLED_OK, PS_SETTLED_REDO, PS_SETTLED_FAILED, PS_SETTLED_NO_SEND } ps_settled;
ps_gen *gen_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *dest);
void gen_free(ps_gen *g);
struct ps_early;
void gen_use_early(ps_gen *g, const struct ps_early *e); /* -c: sums that are known already; borrowed */
/* Goes on through the lists received so far: compares, creates directories, links and devices, deletes, writes requests.
 * PS_AGAIN: waits for a list or for files in progress; PS_FULL: out is above PS_SEND_HIGH_WATER, or the log or the events
 * must be drained; PS_DONE: all phases over and the goodbye's NDX_DONEs written. Bounded: at most about 1 ms of work. */
int gen_step(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx);
/* The receiver (or the swarm) has settled a file that was asked for. Drives hard-link followers, redo, directory times,
 * release of lists. Writes nothing itself; gen_step does. */
int gen_settled(ps_gen *g, i32 ndx, ps_settled how);
/* The same where the sender's words or data settle it: PS_FAIL for a file of the swarm, of which the sender must not speak. */
int gen_settled_by_sender(ps_gen *g, i32 ndx, ps_settled how);
bool gen_in_swarm(const ps_file *f);
/* The sender has answered the NDX_DONE that ended a phase (rsync's MSG_DONE count): called once for each of them, after the
 * receiver has done what belongs to that phase (delayed updates before the second). */
void gen_phase_ended(ps_gen *g);
/* Lists: gen writes a list's NDX_DONE, sets its done_sent and touches it no more; recv drops it at the sender's echo.
 * With o.dry_run > 1 the destination directory does not exist and the root given to gen and recv is NULL. */
int gen_phase(const ps_gen *g);     /* 0 first, 1 redo, 2 delayed updates done … as generator.c counts them */
bool gen_in_redo(const ps_gen *g, i32 ndx);
/* Messages of the remote that concern the generator (MSG_NO_SEND, MSG_REDO never comes here, MSG_IO_ERROR in ctx). */

/* backup.c:make_backup: keeps what is at `path` under its backup name. */
#define GEN_BACKUP_FAILED 0  /* errno */
#define GEN_BACKUP_MOVED 1   /* nothing is at `path` any more */
#define GEN_BACKUP_COPIED 2  /* or linked */
#define GEN_BACKUP_NOTHING 3 /* nothing is there, or nothing that can be kept */
int gen_make_backup(ps_gen *g, const char *path, bool prefer_rename);
int gen_open_backup_basis(ps_gen *g, const char *path); /* PS_BASIS_BACKUP, for reading; -1: errno */

/* The seam of the swarm. Where an ordinary request for an eligible file would be written, it is queued here instead; it
 * holds its list's NDX_DONE until it is routed. */
typedef struct ps_gen_job {
    i32 ndx;
    u32 iflags;          /* what itemize would have sent: for the line that the client prints itself */
    i64 size, basis_size; /* of the new file; of the basis, 0 none */
    u8 basis;            /* PS_BASIS_* */
} ps_gen_job;
const ps_gen_job *gen_jobs(const ps_gen *g, size_t *count); /* queued since the last gen_jobs_taken; valid until gen_step */
void gen_jobs_taken(ps_gen *g);
/* Routes a queued file. Classic: gen_step writes the ordinary request. Swarm: the sender never hears of it; its list may end,
 * but stays in memory (gen_first_list_done) until gen_settled. */
int gen_route_classic(ps_gen *g, i32 ndx);
int gen_route_swarm(ps_gen *g, i32 ndx);
/* The sender has echoed the first list's NDX_DONE: drops it, at once or when its last swarm file has settled. PS_FAIL when
 * the generator is not through with it (the remote's error). */
int gen_first_list_done(ps_gen *g);

/* Attributes of a finished file (rsync.c:set_file_attrs, dest_mode, chmod rules). */
u32 chmod_tweak(const ps_ctx *c, u32 mode); /* chmod.c:tweak_mode with the compiled rules */
u32 attrs_default_perms(void);          /* ACCESSPERMS without the umask: dest_mode's default_perms */
u32 attrs_dir_perms(int dirfd);         /* the same for new entries of a directory: its default ACL, else the umask */
bool attrs_same_time(const ps_ctx *c, i64 a, u32 a_ns, i64 b, u32 b_ns); /* util1.c:same_time */
/* shown: the path beneath the root, as for full_fname. Returns whether something was changed (or would be, in a dry run). have: the entry's state, NULL when it must be looked up;
 * renewed where a change of owner dropped set-id bits: rsync's items then tell of the mode alone.
 * On a failure it has been logged. */
#define PS_ATTRS_REPORT 1       /* -vv: a line for the entry, changed or up to date */
#define PS_ATTRS_SKIP_MTIME 2
#define PS_ATTRS_ACCURATE_TIME 4
int attrs_set(ps_ctx *c, int dirfd, const char *name, const char *shown, const ps_flist *l, ps_file *f, struct stat *have, int flags);
/* The same for an open file: fd instead of the name. */
int attrs_set_open(ps_ctx *c, int fd, const char *shown, ps_file *f, struct stat *have, int flags);
u32 attrs_dest_mode(const ps_ctx *c, u32 file_mode, u32 stat_mode, u32 default_perms, bool exists); /* rsync.c:dest_mode */
/* The directory that --partial-dir, --temp-dir, the alternate destinations resolve to for an entry. Paths relative to the
 * destination root, or absolute where the user gave them so. */
int alt_dest_path(const ps_ctx *c, int index, const char *path, char *out, size_t cap);

/* ---- receiver (owner: receiver): replies → files --------------------------------------------- */
typedef struct ps_recv ps_recv;
/* Made after the first list has been decoded (by `decoder`, which goes on with the sub-lists) and the destination is known.
 * ndx: the state of the reading direction, which is the caller's. gen may be NULL with o.list_only. */
ps_recv *recv_new(ps_ctx *c, ps_flists *all, ps_gen *gen, ps_rules *rules, ps_root *dest, ps_flist_decoder *decoder, ps_ndx_state *ndx);
void recv_free(ps_recv *r);  /* aborts the file in progress */
struct ps_outs *recv_outs(ps_recv *r); /* the session's output files: the swarm writes through them as well */
/* Small files may be put in place by threads, while the session goes on. Whoever allows it calls recv_settle before waiting for
 * input: it waits for the files under way; false: there were none. */
void recv_write_behind(ps_recv *r);
bool recv_settle(ps_recv *r);
void recv_abort(ps_recv *r); /* the same at once: an interruption, a timeout, a failure */
/* Consumes the input after the first file list: ndx, iflags, sums, tokens, sub-lists, statistics, goodbye. PS_AGAIN: used up;
 * PS_FULL: log or events must be drained; PS_DONE: the goodbye is over; PS_FAIL. */
int recv_step(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner);
/* Puts delayed updates into place once their phase has come; until then nothing. recv_step does so itself where no swarm is
 * possible; else this is called when the last swarm file has settled. */
void recv_place_delayed(ps_recv *r);
/* util1.c:full_fname: the path in quotes beneath PS_STR_CURR_DIR, with the module's name on a daemon. Returns out. */
#define PS_FULL_FNAME 8704
const char *full_fname(const ps_ctx *c, const char *path, char out[PS_FULL_FNAME]);
/* progress.c: the receiver's and the sender's --progress lines, written to the log stream as PS_LOG_CLIENT. */
typedef struct ps_progress ps_progress;
ps_progress *progress_new(ps_ctx *c);
void progress_free(ps_progress *p);
void progress_file(ps_progress *p, i32 index);                 /* progress.c:set_current_file_index: entries before this one */
void progress_show(ps_progress *p, i64 offset, i64 size);
void progress_end(ps_progress *p, i64 size, bool list_complete); /* list_complete: no more lists will come */

/* ---- rendering (owner: rules): itemized and formatted lines ------------------------------------ */
#define PS_RENDER_STDOUT 0   /* --out-format / -i / -v */
#define PS_RENDER_LOG 1      /* --log-file-format, the daemon's log format */
/* log.c:log_item: writes the line for an entry to the log stream with `code`, by the compiled format. `target`: hard-link
 * or symlink target, or NULL. iflags: PS_ITEM_*. sent/received: bytes for %b and %c. */
int render_item(ps_ctx *c, int code, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target,
                i64 transfer_bytes, i64 checksum_bytes);
/* log.c:maybe_log_item, for an item without data; target: its xname or NULL. Decides by the flags and options. */
int render_maybe_item(ps_ctx *c, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target);
/* log.c:log_delete */
int render_delete(ps_ctx *c, const char *path, u32 mode);
/* Nothing is escaped here: control characters are escaped where the log stream is shown (ps_escape). */

#define PS_SEND_HIGH_WATER (512u * 1024u)
/* -c: after so many bytes of files read, what there is for the remote goes out, and what has come is looked at. */
#define PS_HASH_STEP ((i64)16 * 1024 * 1024)

#endif
