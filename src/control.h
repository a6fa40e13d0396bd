/*
 * control: settings: the hak_limit_ and hak_housekeeper_ functions, and what the options set at the
 * start.
 */
#ifndef HK_CONTROL_H
#define HK_CONTROL_H

/* Puts the options into force; by the library's constructor. */
void hk_control_start(void);

#endif
