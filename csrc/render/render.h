/* Itemized and formatted lines, and --progress, to the log stream. Nothing is escaped here: control characters are escaped where
 * the log stream is shown (ps_escape). */
#ifndef PS_RENDER_H
#define PS_RENDER_H
#include "filelist/flist.h"

#include "api/render_api.h"

bool render_has_format(const ps_ctx *c, int which); /* PS_FORMAT_* */
/* log.c:log_item: writes the line for an entry to the log stream with `code`, by the compiled format. `target`: hard-link
 * or symlink target, or NULL. iflags: PS_ITEM_*. sent/received: bytes for %b and %c. */
int render_item(ps_ctx *c, int code, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target,
                i64 transfer_bytes, i64 checksum_bytes);
/* log.c:maybe_log_item, for an item without data; target: its xname or NULL. Decides by the flags and options. */
int render_maybe_item(ps_ctx *c, const ps_flists *all, const ps_flist *l, const ps_file *f, u32 iflags, const char *target);
/* log.c:log_delete */
int render_delete(ps_ctx *c, const char *path, u32 mode);
/* The same for MSG_DELETED: a directory's name ends with a NUL. */
int render_deleted(ps_ctx *c, const u8 *data, u32 len);

/* progress.c: the receiver's and the sender's --progress lines, written to the log stream as PS_LOG_CLIENT. */
typedef struct ps_progress ps_progress;
ps_progress *progress_new(ps_ctx *c);
void progress_free(ps_progress *p);
/* progress.c:set_current_file_index. current: the list of the entry; gone: lists that have been through before all->first. */
void progress_file(ps_progress *p, const ps_flists *all, const ps_flist *current, u32 gone, i32 ndx);
/* The same where a list or a phase has ended, with the line that progress2 has there. */
void progress_list_ended(ps_progress *p, const ps_flists *all, const ps_flist *current, u32 gone);
void progress_show(ps_progress *p, i64 offset, i64 size);
void progress_end(ps_progress *p, i64 size, bool list_complete); /* list_complete: no more lists will come */

#endif
