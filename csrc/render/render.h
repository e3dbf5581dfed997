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

/* progress.c: the receiver's and the sender's --progress lines, written to the log stream as PS_LOG_CLIENT. */
typedef struct ps_progress ps_progress;
ps_progress *progress_new(ps_ctx *c);
void progress_free(ps_progress *p);
void progress_file(ps_progress *p, i32 index);                 /* progress.c:set_current_file_index: entries before this one */
void progress_show(ps_progress *p, i64 offset, i64 size);
void progress_end(ps_progress *p, i64 size, bool list_complete); /* list_complete: no more lists will come */

#endif
