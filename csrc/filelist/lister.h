/* The sending side of the file list: arguments and directories become sub-lists. */
#ifndef PS_LISTER_H
#define PS_LISTER_H
#include "filelist/flist.h"
#include "filter/rules.h"
#include "fs/root.h"
#include "wire/mux.h"
#include "wire/records.h"

typedef struct ps_lister ps_lister; /* sender: arguments and directories into sub-lists on the wire */
ps_lister *lister_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *root);
void lister_free(ps_lister *l);
int lister_arg(ps_lister *l, const char *path, size_t len);       /* one source argument, as flist.c:send_file_list takes it */
/* Arguments are those of a user, who may name any place: the ps_root is "/", and relative ones begin at `start`. Before them. */
int lister_from_anywhere(ps_lister *l, const char *start, size_t len);
int lister_files_from(ps_lister *l, const char *name, size_t len); /* one name of --files-from, below the single argument */
/* Encodes the first list (all of it without inc_recurse); call after the arguments. PS_OK when it is complete, PS_FULL
 * when out should be written and it must be called again, PS_FAIL. */
int lister_first(ps_lister *l, ps_mux_out *out);
int lister_ready(ps_lister *l); /* flist_ready for it, for who looks at its entries */
/* flist.c:send_extra_file_list: more sub-lists until the lists behind all->current hold `want` entries. PS_OK when they
 * do, PS_DONE after NDX_FLIST_EOF was written, PS_FULL, PS_FAIL. The ndx state is the session's writing direction. */
int lister_more(ps_lister *l, ps_mux_out *out, ps_ndx_state *ndx, i32 want);

#endif
