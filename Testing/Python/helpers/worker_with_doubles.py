"""The worker, with the methods of ``method_doubles``."""

from helpers.method_doubles import install

from DSAReconLib.jobs.worker import main_and_exit

if __name__ == "__main__":
    install()
    main_and_exit()
