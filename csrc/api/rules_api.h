/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_RULES_API_H
#define PS_RULES_API_H
typedef struct ps_rules ps_rules;
#endif
