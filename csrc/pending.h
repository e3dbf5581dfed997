/* Declarations that other parts are about to land in transfer.h and flist.h; goes with pending.c. */
#ifndef PS_PENDING_H
#define PS_PENDING_H
#include "transfer.h"
#ifndef PS_F_REDO
#define PS_F_REDO 0x0010
#endif
int gen_first_list_done(ps_gen *g);
u32 attrs_default_perms(void);
/* generator.c:list_file_entry */
int flist_render_listing(ps_ctx *c, const ps_flists *all, const ps_flist *l, const ps_file *f);
int attrs_set_open(ps_ctx *c, int fd, const char *shown, ps_file *f, const struct stat *have, int flags);
#endif
