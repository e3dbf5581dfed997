#include "delta/token.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <strings.h>

struct ps_token_skip {
    char *text;        /* the patterns, lower-cased, NUL after each */
    const char **suffixes; /* without "*.", sorted */
    size_t suffix_count;
    const char **patterns; /* those that are not a plain suffix */
    size_t pattern_count;
    bool everything;
};

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void add(ps_token_skip *s, const char *pattern) {
    if (strcmp(pattern, "*") == 0)
        s->everything = true;
    else if (pattern[0] == '*' && pattern[1] == '.' && pattern[2] && !strpbrk(pattern + 2, ".?*["))
        s->suffixes[s->suffix_count++] = pattern + 2;
    else
        s->patterns[s->pattern_count++] = pattern;
}

ps_token_skip *token_skip_new(const char *patterns) {
    ps_token_skip *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    size_t n = strlen(patterns), words = n / 2 + 1;
    s->text = malloc(n + 1);
    s->suffixes = malloc(words * sizeof *s->suffixes);
    s->patterns = malloc(words * sizeof *s->patterns);
    if (!s->text || !s->suffixes || !s->patterns) {
        token_skip_free(s);
        return NULL;
    }
    for (size_t i = 0; i <= n; i++) s->text[i] = (char)tolower((unsigned char)patterns[i]);
    char *rest = s->text;
    for (char *word; (word = strsep(&rest, " "));)
        if (*word) add(s, word);
    qsort(s->suffixes, s->suffix_count, sizeof *s->suffixes, by_text);
    return s;
}

void token_skip_free(ps_token_skip *s) {
    if (!s) return;
    free(s->text);
    free(s->suffixes);
    free(s->patterns);
    free(s);
}

static int suffix_order(const void *key, const void *entry) { return strcasecmp(key, *(const char *const *)entry); }

bool token_skip_match(const ps_token_skip *s, const char *name) {
    if (s->everything) return true;
    const char *slash = strrchr(name, '/');
    if (slash) name = slash + 1;
    for (size_t i = 0; i < s->pattern_count; i++)
        if (fnmatch(s->patterns[i], name, FNM_CASEFOLD) == 0) return true;
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name || !dot[1]) return false;
    return bsearch(dot + 1, s->suffixes, s->suffix_count, sizeof *s->suffixes, suffix_order) != NULL;
}
