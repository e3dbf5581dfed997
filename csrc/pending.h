/* Declarations that other parts are about to land in transfer.h and flist.h; goes with pending.c. */
#ifndef PS_PENDING_H
#define PS_PENDING_H
#include "transfer.h"
#ifndef PS_F_REDO
#define PS_F_REDO 0x0010
#endif
int gen_first_list_done(ps_gen *g);
u32 attrs_default_perms(void);
int attrs_set_open(ps_ctx *c, int fd, const char *shown, ps_file *f, const struct stat *have, int flags);
#endif
