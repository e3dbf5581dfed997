/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_RULES_API_H
#define PS_RULES_API_H
typedef struct ps_rules ps_rules;

/* flags of a rule; prsync/protocol/filters.py has the same numbers (rsync.h: FILTRULE_*) */
#define PS_RULE_INCLUDE 0x1
#define PS_RULE_DIRECTORY 0x2    /* matches directories only */
#define PS_RULE_ABS_PATH 0x4     /* matches against the path within the module */
#define PS_RULE_NEGATE 0x8
#define PS_RULE_PERISHABLE 0x10
#define PS_RULE_SENDER 0x20      /* written with s, hide or show */
#define PS_RULE_RECEIVER 0x40
#define PS_RULE_XATTR 0x80
#define PS_RULE_MERGE 0x100      /* text is the name of a file to merge … */
#define PS_RULE_PER_DIR 0x200    /* … in every directory */
#define PS_RULE_NO_INHERIT 0x400
#define PS_RULE_WORD_SPLIT 0x800
#define PS_RULE_NO_PREFIXES 0x1000
#define PS_RULE_CVS 0x4000       /* -C: the list PS_RULES_CVS stands here; :C */
#define PS_RULE_CLEAR 0x8000     /* no rule: empties the list */
#define PS_RULE_FROM_FILE 0x10000
#define PS_RULE_FINISH_SETUP 0x20000 /* per-directory file not yet looked for in parent directories */
#define PS_RULE_ONLY_SENDER 0x40000   /* skipped when asked for the receiving side (exclude.c: elide) */
#define PS_RULE_ONLY_RECEIVER 0x80000

#define PS_RULES_MAIN 0
#define PS_RULES_CVS 1
#define PS_RULES_DAEMON 2
#define PS_RULES_PARSED 3 /* the answer of a parser callback */

typedef struct ps_rule_op {
    uint32_t flags, text_off, text_len;
} ps_rule_op;

/* Parses the text of a per-directory merge file by putting PS_RULES_PARSED; negative after ps_rules_parse_failed.
 * name: the file, for messages; "" when it must not be shown. flags: of the rule that named it. per_dir: false for a
 * file merged by a rule within another. */
typedef int (*ps_rules_parser)(void *handle, ps_rules *r, const char *text, size_t len, const char *name, uint32_t flags, int per_dir);

ps_rules *ps_rules_new(ps_ctx *c);
void ps_rules_free(ps_rules *r);
void ps_rules_set_parser(ps_rules *r, ps_rules_parser parser, void *handle);
int ps_rules_put(ps_rules *r, int list, const ps_rule_op *ops, uint32_t count, const uint8_t *text, size_t text_len);
int ps_rules_parse_failed(ps_rules *r, int exit_code, const char *text);
void ps_rules_log(ps_rules *r, int code, const char *text, size_t len);
int ps_rules_set_base(ps_rules *r, const char *base, size_t len);
void ps_rules_trust_sender(ps_rules *r); /* the sender applies per-directory rules that are not known here */

/* For control code and tests; the parts in C use rules.h. side: 1 sender, 2 receiver. */
int ps_rules_check(ps_rules *r, const char *path, size_t len, int is_dir, int side);
/* names: NUL-terminated one after the other, a trailing slash for a directory; answers: one of -1, 0, 1 each */
void ps_rules_check_many(ps_rules *r, const char *names, size_t len, int side, int8_t *answers, size_t count);
int ps_rules_check_daemon(ps_rules *r, const char *path, size_t len, int is_dir);
/* flist.c:path_is_daemon_excluded: any directory that leads to path, and path itself unless parents_only. */
int ps_rules_path_excluded(ps_rules *r, const char *path, size_t len, int parents_only);
int ps_rules_enter(ps_rules *r, int dirfd, const char *dir, size_t len);
void ps_rules_leave(ps_rules *r, int token);

/* lib/wildmatch.c */
int ps_wildmatch(const char *pattern, size_t pattern_len, const char *text, size_t text_len, int fold);
#endif
