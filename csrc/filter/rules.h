/* Filter rules, matched over names; compiled by Python (prsync/engine/rules.py). */
#ifndef PS_RULES_H
#define PS_RULES_H
#include "fs/root.h"
#include "api/rules_api.h"

/* What a name is asked for (exclude.c:name_is_excluded's LEVELs and sides). */
#define PS_SIDE_SENDER 1   /* hide / show apply */
#define PS_SIDE_RECEIVER 2 /* protect / risk apply */

/* exclude.c:check_filter over the whole stack: -1 excluded (hidden/protected), 1 included, 0 no rule matched.
 * path: relative to the base (rules_set_base), or absolute within the module. */
int rules_check(ps_rules *r, const char *path, size_t len, bool is_dir, int side);
/* exclude.c:check_server_filter / daemon_filter_list: the daemon's own rules, on paths within the module. */
int rules_check_daemon(ps_rules *r, const char *path, size_t len, bool is_dir);
/* flist.c:path_is_daemon_excluded: is path, or a directory that leads to it, excluded by the daemon's rules? */
bool rules_path_excluded(ps_rules *r, const char *path, size_t len, bool parents_only);
bool rules_any(const ps_rules *r);          /* false: rules_check can be skipped altogether */
bool rules_any_daemon(const ps_rules *r);
bool rules_any_merge(const ps_rules *r);
/* What a received name must pass besides rules_check(PS_SIDE_SENDER): false when per-directory rules of the sender
 * (exclude.c:trust_sender_filter) or --trust-sender make our own list meaningless for that check. */
bool rules_check_received(const ps_rules *r);
/* Rules with modifier p do not protect inside a directory that is being deleted (exclude.c:ignore_perishable). */
void rules_ignore_perishable(ps_rules *r, bool ignore);

/* Where the transfer's directory (the `root` given to rules_enter) stands: absolute within the module, no slash at the
 * end, "" for the module's own root; for a client the real directory. Matters for rules with modifier `/` and for merge
 * files looked for in parent directories (-F). top: the module's root, NULL for a client. */
int rules_set_base(ps_rules *r, const char *base, size_t len, ps_root *top);

/* exclude.c:push_local_filters / pop_local_filters: enter a directory (path beneath root), reading its merge files (through
 * the Python parser callback); leave restores what was before. Returns a token >= 0 for rules_leave, or PS_FAIL. */
int rules_enter(ps_rules *r, ps_root *root, const char *dir, size_t len);
void rules_leave(ps_rules *r, int token);
/* exclude.c:change_local_filter_dir for the generator's deletion and the lister: go from wherever to `dir`, which is `depth`
 * directories below the root; dir NULL: leave them all. */
int rules_change_dir(ps_rules *r, ps_root *root, const char *dir, size_t len, int depth);
#endif
