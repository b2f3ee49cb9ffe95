"""Does everything hold on other machines too? ``make robust`` runs it under many conditions.

One machine can show a good part of what other machines do. Another training seed gives another
trained model, as another processor does. Fewer instructions give other last digits. One core, busy
cores, other languages, folders that cannot be written, no network: all of them can be had here.

`conditions` is the list, `isolation` makes each of them for one command, `run` runs a notebook
strictly or the tests that use trained models, and `results` keeps what was found and prints it.
"""
