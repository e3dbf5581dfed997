/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_FLIST_API_H
#define PS_FLIST_API_H
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
void ps_root_free(ps_root *r);
int ps_root_fd(const ps_root *r);

/* The receiving side's decoder. A source argument as sent to a daemon (skip_module: its first component is the module),
 * or a name of --files-from: names that were not asked for are then refused. Not called where the sender is trusted. */
typedef struct ps_flist_decoder ps_flist_decoder;
ps_flist_decoder *ps_flist_decoder_new(ps_ctx *c, ps_flists *all, ps_rules *rules /* or NULL */);
void ps_flist_decoder_free(ps_flist_decoder *d);
int ps_flist_decoder_imply(ps_flist_decoder *d, const char *arg, size_t len, bool skip_module);

/* Loads what the lookup of users and groups needs; to be called before a process gives up its privileges. */
void ps_ids_prewarm(void);
#endif
