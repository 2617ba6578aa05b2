# Sourced: sets FASTDATA_CORPUS to the corpus beside the checkout, where it names none and there is one.
if [ -z "${FASTDATA_CORPUS:-}" ] && [ -d ../shared/corpus ]; then
    FASTDATA_CORPUS=$(cd ../shared/corpus && pwd)
    export FASTDATA_CORPUS
fi
