/* What the client asked for, against which received names are checked: exclude.c:add_implied_include. */
#ifndef PS_IMPLIED_H
#define PS_IMPLIED_H
#include "core/context.h"

typedef struct ps_implied ps_implied;
ps_implied *implied_new(const ps_opts *o);
void implied_free(ps_implied *m);
/* One source argument or --files-from name. skip_module: up to the first slash it names the module. false: memory. */
bool implied_add(ps_implied *m, const char *arg, size_t len, bool skip_module);
bool implied_any(const ps_implied *m);
bool implied_allows(const ps_implied *m, const char *path, size_t len, bool is_dir);
/* exclude.c:is_implied_parent_dir: the directory is there only because something below it was asked for. */
bool implied_parent_only(const ps_implied *m, const char *path, size_t len);
#endif
