/* What rules.c and rules_merge.c share. */
#ifndef PS_RULES_INNER_H
#define PS_RULES_INNER_H
#include "filter/rules.h"

#define RULE_WILD 0x100000
#define RULE_STARSTAR 0x200000        /* "**" anywhere */
#define RULE_STARSTAR_FIRST 0x400000
#define RULE_STAR3_LAST 0x800000      /* ends with three stars: matches the directory itself too */

typedef struct rule rule;
typedef struct rule_list {
    rule *head, *tail; /* local rules run up to tail; what follows is inherited from a parent directory */
} rule_list;

struct rule {
    rule *next;
    rule *owned_next;  /* chain of rules found in parent directories, see rule_merge.found */
    struct rule_merge *merge; /* per-directory merge files */
    u32 flags;
    u16 len;
    u16 head, tail;    /* literal bytes before the first and after the last wildcard */
    u16 slashes;
    u8 kind;
    char text[];
};

typedef struct rule_merge {
    rule_list list;
    rule *found; /* rules read in parent directories by finish_setup: inherited by all, freed with the merge rule */
} rule_merge;

typedef struct saved_lists {
    u32 count;
    rule_list lists[];
} saved_lists;

typedef struct rule_table { /* an answer of the parser, copied */
    ps_rule_op *ops;
    u32 count;
    char *text;
    size_t text_len;
} rule_table;

struct ps_rules {
    ps_ctx *ctx;
    rule_list main, cvs, daemon;
    rule **merges; /* per-directory merge rules; NULL where one was freed */
    u32 merge_count, merge_cap;
    saved_lists **saved;
    u32 saved_count, saved_cap;
    int *tokens;   /* rules_change_dir: token of each depth */
    u32 token_count, token_cap;
    ps_rules_parser parser;
    void *handle;
    rule_table *answer; /* where PS_RULES_PARSED goes while the parser runs */
    ps_root *root, *top; /* the transfer's while a directory is entered; the module's */
    int merge_depth;
    bool parent_scan, ignore_perishable, has_merge, trust_sender;
    size_t base_len, dir_len;
    char base[PS_LIMIT_NAME + 1];
    char dir[2 * PS_LIMIT_NAME + 4]; /* directory whose merge files are being read, with a slash at the end */
};

rule *rule_new(const char *prefix, size_t prefix_len, const char *text, size_t len, u32 flags);
void rule_free(ps_rules *r, rule *x);
void list_append(rule_list *l, rule *x);
void list_pop_local(ps_rules *r, rule_list *l);
int rules_apply(ps_rules *r, rule_list *l, const rule_table *t, bool per_dir);
#endif
