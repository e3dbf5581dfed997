/* Read by cffi as well: declarations and `#define NAME number` only.
 * What the data plane must know of the command line and of the negotiation; field names follow rsync's options.c.
 * Strings are copied by ps_ctx_set_string and friends. */
#ifndef PS_OPTIONS_API_H
#define PS_OPTIONS_API_H

#define PS_ROLE_SENDER 1    /* this side reads the files */
#define PS_ROLE_RECEIVER 2  /* this side writes the files: generator and receiver in one */

/* checksum kinds */
#define PS_SUM_NONE 0
#define PS_SUM_MD4 1
#define PS_SUM_MD5 2
#define PS_SUM_SHA1 3
#define PS_SUM_XXH64 4
#define PS_SUM_XXH3 5
#define PS_SUM_XXH128 6
#define PS_SUM_BLAKE3 7     /* never negotiated with rsync; digests only */
#define PS_SUM_MD4_SEEDED 8 /* what protocols 27 to 29 use unasked: MD4, with the seed before the data of a transferred file */

/* compression kinds */
#define PS_Z_NONE 0
#define PS_Z_ZLIB 1
#define PS_Z_ZLIBX 2
#define PS_Z_LZ4 3
#define PS_Z_ZSTD 4

#define PS_DELETE_NONE 0
#define PS_DELETE_BEFORE 1
#define PS_DELETE_DURING 2
#define PS_DELETE_DELAY 3
#define PS_DELETE_AFTER 4

#define PS_ALT_NONE 0
#define PS_ALT_COMPARE 1
#define PS_ALT_COPY 2
#define PS_ALT_LINK 3

typedef struct ps_opts {
    /* who we are */
    int32_t role, am_server, am_daemon, am_root, protocol;
    int32_t local;                       /* both sides are this process: a local copy */
    /* negotiated */
    int32_t inc_recurse, safe_flist, avoid_xattr_optim, proper_seed_order, inplace_partial_dir;
    int32_t varint_flist_flags, id0_names, receiver_symlink_times;
    int32_t xfer_sum, file_sum;          /* PS_SUM_*: block and file checksum; the checksum of -c */
    int32_t checksum_seed;
    int32_t compress, compress_level;    /* PS_Z_*; level INT32_MIN = the kind's default */
    /* what is sent and preserved */
    int32_t recurse, dirs, links, hard_links, perms, executability, times, owner, group, devices, specials;
    int32_t drop_devices;                /* receiver: neither are made, whatever the list has (--drop-D) */
    int32_t omit_dir_times, omit_link_times, atimes, acls, xattrs, numeric_ids, relative, implied_dirs;
    int32_t copy_links, copy_dirlinks, keep_dirlinks, copy_unsafe_links, safe_links, munge_links;
    int32_t one_file_system;             /* 0, 1 (-x), 2 (-xx) */
    int32_t prune_empty_dirs, checksum, cvs_exclude, mkpath;
    /* which files are updated */
    int32_t update, existing, ignore_existing, size_only, ignore_times, modify_window; /* window: seconds; -1 = compare ns */
    int64_t max_size, min_size;          /* -1: none */
    /* how */
    int32_t dry_run, list_only, whole_file /* -1 auto, 0, 1 */, sparse, block_size /* 0: rsync's rule */;
    int32_t read_batch;                  /* receiver: the sender's data comes from a file, and nobody hears what is asked for */
    int32_t only_write_batch;            /* with dry_run: files' data is asked for all the same, and only recorded by the client */
    int32_t inplace, append, partial, delay_updates, preallocate, fuzzy, backup;
    int32_t delete_mode, delete_excluded, max_delete /* -1: none */, force_delete, ignore_errors;
    int32_t remove_source_files, alt_kind; /* PS_ALT_* of the basis directories */
    int32_t super;                       /* am_root > 0 effect wanted: -1 auto, 0, 1 */
    int32_t open_noatime, trust_sender;
    int32_t umask;                       /* the process's: reading it would change it for a moment, for all threads */
    /* output */
    int32_t verbose, itemize /* 0, 1 (-i), 2 (-ii) */, log_before_transfer, human_readable, eight_bit_output;
    int32_t stdout_format_has_i, log_format_has_i;
    int32_t keep_checksums;              /* sender, -c: a format shows them (%C) */
    int32_t info_name, info_del, info_skip, info_flist, info_misc, info_mount, info_nonreg, info_progress, info_stats;
    int32_t info_symsafe, info_copy, info_remove, info_backup;
    int32_t want_progress_events;
    /* the extension */
    int32_t swarm;                       /* nominate/1 is agreed: files that need data may be taken from sources */
    int32_t no_data;                     /* sender: every request for a file's data is answered by MSG_NO_SEND */
    int64_t swarm_cut_over;              /* files without a basis below this size are fetched whole */
} ps_opts;

ps_opts *ps_ctx_opts(ps_ctx *c);
bool ps_ctx_input_is_plain(const ps_ctx *c); /* by the options: what the remote sends is data alone, not multiplexed */

/* strings, copied; paths without a slash at the end. NULL in C where not set. */
#define PS_STR_PARTIAL_DIR 0   /* --partial-dir */
#define PS_STR_TEMP_DIR 1      /* --temp-dir */
#define PS_STR_BACKUP_DIR 2
#define PS_STR_BACKUP_SUFFIX 3
#define PS_STR_MODULE 4        /* daemon: the module's name, for messages and %m */
#define PS_STR_MODULE_PATH 5   /* daemon: %P */
#define PS_STR_USER 6          /* daemon: authenticated user, %u */
#define PS_STR_HOST 7          /* daemon: %h */
#define PS_STR_ADDRESS 8       /* daemon: %a */
#define PS_STR_DONT_COMPRESS 9 /* sender: suffix patterns separated by one space */
#define PS_STR_LOCAL_NAME 10   /* receiver: the one file's name below the destination (main.c:get_local_name); set by pull */
#define PS_STR_CURR_DIR 11     /* absolute path of the destination or source directory, for messages (util1.c:full_fname) */
#define PS_STR_COUNT 12
int ps_ctx_set_string(ps_ctx *c, int which, const char *text, size_t len);
int ps_ctx_add_alt_dir(ps_ctx *c, const char *path, size_t len); /* --link-dest and kin, in order; at most PS_ALT_DIRS_MAX */
#define PS_ALT_DIRS_MAX 20

/* compiled --chmod rules, applied in order (chmod.c:tweak_mode): mode = (mode & mode_and) | mode_or, with X */
typedef struct ps_chmod_op {
    int32_t mode_and, mode_or, flags; /* PS_CHMOD_* */
} ps_chmod_op;
#define PS_CHMOD_DIRS_ONLY 1
#define PS_CHMOD_FILES_ONLY 2
#define PS_CHMOD_X_KEEP 4      /* a rule with X: execute bits only for directories and executables */
#define PS_CHMOD_COPY_U 8      /* perms copied from the mode's user bits (g=u) */
#define PS_CHMOD_COPY_G 16
#define PS_CHMOD_COPY_O 32
/* With one of the COPY flags: bits = the source's three bits, put into the places named by DST, & mode_or (which carries
 * chmod.c's ModeCOPY_AND there and adds no bits itself); mode & mode_and, then bits are set, or cleared with COPY_SUB. */
#define PS_CHMOD_DST_U 64
#define PS_CHMOD_DST_G 128
#define PS_CHMOD_DST_O 256
#define PS_CHMOD_COPY_SUB 512
int ps_ctx_set_chmod(ps_ctx *c, const ps_chmod_op *ops, uint32_t count);

#endif
