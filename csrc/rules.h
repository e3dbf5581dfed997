/* Filter rules, matched over names; compiled by Python (prsync/engine/rules.py). Owner: rules. */
#ifndef PS_RULES_H
#define PS_RULES_H
#include "root.h"
#include "api/rules_api.h"

/* What a name is asked for (exclude.c:name_is_excluded's LEVELs and sides). */
#define PS_SIDE_SENDER 1   /* hide / show apply */
#define PS_SIDE_RECEIVER 2 /* protect / risk apply */
#define PS_SIDE_NO_PERISHABLE 4 /* added: rules with the modifier p do not count (exclude.c:ignore_perishable, in a directory
                                 * that is being deleted) */

/* exclude.c:check_filter over the whole stack: -1 excluded (hidden/protected), 1 included, 0 no rule matched. */
int rules_check(ps_rules *r, const char *path, size_t len, bool is_dir, int side);
/* exclude.c:check_server_filter / daemon_filter_list: the daemon's own rules, on paths within the module. */
int rules_check_daemon(ps_rules *r, const char *path, size_t len, bool is_dir);
bool rules_any(const ps_rules *r);          /* false: checks can be skipped altogether */
bool rules_any_merge(const ps_rules *r);
/* exclude.c:push_local_filters / pop_local_filters: enter a directory, reading its merge files beneath root (through the
 * Python parser callback); leave restores what was. Returns a token >= 0 for rules_leave, or PS_FAIL. */
int rules_enter(ps_rules *r, ps_root *root, const char *dir, size_t len);
void rules_leave(ps_rules *r, int token);
/* exclude.c:change_local_filter_dir for the generator's deletion: go from wherever to `dir`. */
int rules_change_dir(ps_rules *r, ps_root *root, const char *dir, size_t len, int depth);
#endif
