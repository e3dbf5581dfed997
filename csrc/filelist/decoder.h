/* The receiving side of the file list: sub-lists from the remote. */
#ifndef PS_DECODER_H
#define PS_DECODER_H
#include "filelist/flist.h"
#include "filter/rules.h"
#include "wire/mux.h"
#include "wire/records.h"

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

#endif
